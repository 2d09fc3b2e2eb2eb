"""Texts and data sets small enough to train on in every way."""

import numpy as np

from tfcharlm.text import Vocabulary, line_dataset, stream_dataset

VOCABULARY = Vocabulary("\nabcdefg")
IDS = np.random.default_rng(3).integers(8, size=67)
DOCUMENTS = [IDS[:5], IDS[5:16], IDS[16:41], IDS[41:]]
LINES = ["a", "bcd", "efgab", "dd", "gfedc", "bb"]
DATA = {
    "stream": lambda epochs: stream_dataset(IDS, 4, 5, seed=5, epochs=epochs),
    "documents": lambda epochs: stream_dataset(DOCUMENTS, 3, 9, seed=7, epochs=epochs),
    "lines": lambda epochs: line_dataset(LINES, VOCABULARY, 2, seed=1, epochs=epochs),
}

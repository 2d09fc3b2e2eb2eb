"""Text to ids and back, texts to learn from, and text as a stream of batches."""

from tfcharlm.text.corpora import load_corpus
from tfcharlm.text.datasets import stream_dataset
from tfcharlm.text.files import encode_file, read_chunks
from tfcharlm.text.lines import line_dataset
from tfcharlm.text.vocabulary import Vocabulary

__all__ = ["Vocabulary", "encode_file", "line_dataset", "load_corpus", "read_chunks", "stream_dataset"]

"""Text to ids and back, texts to learn from, and text as a stream of batches."""

from tfcharlm.text.corpora import load_corpus
from tfcharlm.text.datasets import stream_dataset
from tfcharlm.text.vocabulary import Vocabulary

__all__ = ["Vocabulary", "load_corpus", "stream_dataset"]

"""Text to ids and back, corpora to train on, and data sets of batches."""

from tfcharlm.text.batches import sha256_of
from tfcharlm.text.checks import UnknownTokenError
from tfcharlm.text.codec import GraphCodec
from tfcharlm.text.corpora import load_corpus
from tfcharlm.text.corpus_splitting import split_corpus
from tfcharlm.text.datasets import stream_dataset
from tfcharlm.text.files import encode_file, read_chunks
from tfcharlm.text.items import items_of
from tfcharlm.text.lines import line_dataset
from tfcharlm.text.parts import TextPart
from tfcharlm.text.relatives import relatives
from tfcharlm.text.spelling import DIGITS, MOST_DIGITS, Spelling, digits_of_unfinished
from tfcharlm.text.split import TextSplit
from tfcharlm.text.vocabulary import Vocabulary
from tfcharlm.text.whole_texts import load_texts
from tfcharlm.text.words import PATTERN as WORD_PATTERN

__all__ = [
    "DIGITS",
    "MOST_DIGITS",
    "WORD_PATTERN",
    "GraphCodec",
    "Spelling",
    "TextPart",
    "TextSplit",
    "UnknownTokenError",
    "Vocabulary",
    "digits_of_unfinished",
    "encode_file",
    "items_of",
    "line_dataset",
    "load_corpus",
    "load_texts",
    "read_chunks",
    "relatives",
    "sha256_of",
    "split_corpus",
    "stream_dataset",
]

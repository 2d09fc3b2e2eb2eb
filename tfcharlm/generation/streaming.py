"""Continues prompts from Python: several samples, stop strings, and pieces of text as they are made."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter as clock
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.generation.arguments import checked_callback, checked_prompt, checked_stops, checked_texts, row_seeds
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.limits import ROWS
from tfcharlm.generation.loop import DECODE_BLOCK
from tfcharlm.generation.sampling_settings import LENGTH, Sampling
from tfcharlm.generation.stops import StopSearch
from tfcharlm.text import DIGITS, Vocabulary, digits_of_unfinished

# Tokens between two pieces.
TOKENS_PER_YIELD = 16
# A call of the graph costs as much time as writing a hundred tokens of a small model. So each call writes twice as many
# tokens as the one before, unless that took so many seconds that somebody who watches would have to wait.
SHORT_WAIT = 0.05


def generate(
    graph: TextGraph,
    prompts: str | Sequence[str],
    max_length: int,
    sampling: Sampling,
    seed: int | Sequence[int] | None,
    stop: str | Sequence[str] | None = None,
    samples: int = 1,
    callback: Callable[[int, str], Any] | None = None,
) -> Any:
    """Continues prompts; see `CharLM.generate`."""
    samples = ROWS.check("samples", samples)
    prompts, single = checked_texts("prompts", prompts)
    texts: list[Any] = [prompt for prompt in prompts for _ in range(samples)]
    arguments = _checked(graph, list(texts), max_length, sampling, seed)
    stops, callback = checked_stops(stop), checked_callback(callback)
    parts = _pieces(graph, *arguments, stops) if stops or callback else [_whole(graph, *arguments)]
    for pieces in parts:
        for row, piece in enumerate(pieces):
            texts[row] += piece
            if callback is not None and piece:
                callback(row, piece)
    if samples > 1:
        texts = [texts[row : row + samples] for row in range(0, len(texts), samples)]
    return texts[0] if single else texts


def stream(
    graph: TextGraph,
    prompt: str,
    max_length: int,
    sampling: Sampling,
    seed: int | Sequence[int] | None,
    stop: str | Sequence[str] | None = None,
) -> Iterator[str]:
    """Continues one prompt piece by piece; see `CharLM.stream`. The arguments are checked before the first piece."""
    arguments = _checked(graph, [checked_prompt(graph.vocabulary, prompt)], max_length, sampling, seed)
    return (pieces[0] for pieces in _pieces(graph, *arguments, checked_stops(stop)))


class TextStreamer:
    """Turns tokens into text as they arrive: whole characters only, up to the first stop string.

    The end of a text may cut a character in two. Its bytes then become U+FFFD; its digits are left out.

    Args:
        vocabulary: a `Vocabulary`.
        stops: strings that end the text; none by default.

    Example:

    >>> from tfcharlm.generation import TextStreamer
    >>> from tfcharlm.text import DIGITS, Vocabulary, digits_of_unfinished
    >>> vocabulary = Vocabulary("abc.")
    >>> streamer = TextStreamer(vocabulary, stops=["c."])
    >>> streamer.add(vocabulary.encode("abc"), final=False)         # "c" might be the start of a stop string
    'ab'
    >>> streamer.add(vocabulary.encode(".b"), final=False), streamer.ended
    ('', True)
    """

    def __init__(self, vocabulary: Vocabulary, stops: Sequence[str] = ()) -> None:
        self.ended = False
        self._vocabulary = vocabulary
        self._search = StopSearch(stops)
        self._unfinished = np.zeros(0, np.int32)
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the text."""
        return self._search.found

    def add(self, ids: np.ndarray, final: bool) -> str:
        """The text that has become certain with these ids. If `final` is True, the rest of the text."""
        if self.ended:
            return ""
        if self._vocabulary.level == "byte":
            text = self._bytes.decode(np.asarray(ids, np.uint8).tobytes(), final)
        else:
            text = self._vocabulary.decode(self._whole(np.asarray(ids)))
        piece = self._search.add(text, final)
        self.ended = final or self._search.found
        return piece

    def _whole(self, ids):
        """The ids of whole characters; the digits of one that is not whole wait for the next ids."""
        if self._vocabulary.spelling is None:
            return ids
        ids = np.concatenate([self._unfinished, ids])
        first_digit = len(self._vocabulary) - len(DIGITS)
        end = len(ids) - digits_of_unfinished((ids - first_digit).tolist())
        self._unfinished = ids[end:]
        return ids[:end]


def _whole(graph, prompts, max_length, sampling, seeds):
    """The whole continuations, in one call of the graph."""
    shape = (len(prompts),)
    ids = graph.continuation(
        tf.constant(prompts, tf.string, shape), tf.constant(max_length), sampling, tf.constant(seeds, tf.int64, shape)
    )
    return [TextStreamer(graph.vocabulary).add(row, final=True) for row in ids.numpy()]


def _pieces(graph, prompts, max_length, sampling, seeds, stops):
    """Yields lists of one piece of text per row, until all rows have ended."""
    rows = [TextStreamer(graph.vocabulary, stops) for _ in prompts]
    logits, *states = graph.prefill(tf.constant(prompts, tf.string, shape=(len(prompts),)))
    seeds = tf.constant(seeds, tf.int64, shape=(len(prompts),))
    position, at_once = 0, TOKENS_PER_YIELD
    while position < max_length:
        started = clock()
        count = min(at_once, max_length - position)
        ids, logits, *states = graph.decode(seeds, tf.constant(position), tf.constant(count), sampling, logits, *states)
        ids = ids.numpy()[:, :count]
        position += count
        if clock() - started < SHORT_WAIT:
            at_once = min(2 * at_once, DECODE_BLOCK)
        for begin in range(0, count, TOKENS_PER_YIELD):
            final = position == max_length and begin + TOKENS_PER_YIELD >= count
            piece = ids[:, begin : begin + TOKENS_PER_YIELD]
            yield [row.add(row_ids, final) for row, row_ids in zip(rows, piece, strict=True)]
            if all(row.ended for row in rows):
                return


def _checked(graph, prompts, max_length, sampling, seed) -> tuple[list[str], int, Sampling, list[int]]:
    for prompt in dict.fromkeys(prompts):
        checked_prompt(graph.vocabulary, prompt)
    max_length = LENGTH.check("max_length", max_length)
    return prompts, max_length, sampling.checked().tensors(), row_seeds(seed, len(prompts))

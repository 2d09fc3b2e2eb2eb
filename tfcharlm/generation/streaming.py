"""Continuing prompts from Python: several samples, stop strings, pieces as they are made."""

import codecs
import secrets

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER, Bounds
from tfcharlm.generation.limits import LENGTH, checked_texts
from tfcharlm.text import UnknownTokenError

# Tokens between two pieces: soon enough to watch, seldom enough to cost nothing.
TOKENS_PER_YIELD = 16
ROW_SEED = Bounds(low=-(2**63), high=2**63 - 1, whole=True)


def generate(graph, prompts, max_length, sampling, seed, stop=None, samples=1, callback=None):
    """Continues prompts; the arguments are those of `CharLM.generate`, with a `TextGraph` and a `Sampling`."""
    samples = POSITIVE_INTEGER.check("samples", samples)
    prompts, single = checked_texts("prompts", prompts)
    texts = [prompt for prompt in prompts for _ in range(samples)]
    arguments = _checked(graph, list(texts), max_length, sampling, seed)
    stops = _checked_stops(stop)
    parts = _pieces(graph, *arguments, stops) if stops or callback else [_whole(graph, *arguments)]
    for pieces in parts:
        for row, piece in enumerate(pieces):
            texts[row] += piece
            if callback is not None and piece:
                callback(row, piece)
    if samples > 1:
        texts = [texts[row : row + samples] for row in range(0, len(texts), samples)]
    return texts[0] if single else texts


def stream(graph, prompt, max_length, sampling, seed, stop=None):
    """Continues one prompt piece by piece; the arguments are checked before the first piece is made."""
    arguments = _checked(graph, [checked_prompt(graph.vocabulary, prompt)], max_length, sampling, seed)
    return (pieces[0] for pieces in _pieces(graph, *arguments, _checked_stops(stop)))


class TextStreamer:
    """The text after a prompt as its tokens come in: whole characters, cut off before the first stop string.

    Args:
        vocabulary: a `Vocabulary`.
        stops: strings that end the text.

    Example:

    >>> from tfcharlm.generation import TextStreamer
    >>> from tfcharlm.text import Vocabulary
    >>> vocabulary = Vocabulary("abc.")
    >>> streamer = TextStreamer(vocabulary, stops=["c."])
    >>> streamer.add(vocabulary.encode("abc"), final=False)         # "c" might be the beginning of a stop
    'ab'
    >>> streamer.add(vocabulary.encode(".b"), final=False), streamer.ended
    ('', True)
    """

    def __init__(self, vocabulary, stops=()):
        self.ended = False
        self._vocabulary = vocabulary
        self._stops = stops
        self._held = ""
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, ids, final):
        """The text that is certain now and was not before; with `final`, all the rest."""
        if self.ended:
            return ""
        if self._vocabulary.level == "byte":
            self._held += self._bytes.decode(np.asarray(ids, np.uint8).tobytes(), final)
        else:
            self._held += self._vocabulary.decode(ids)
        found = min((index for index in map(self._held.find, self._stops) if index >= 0), default=len(self._held))
        certain = len(self._held) - (0 if final else self._possible_stop())
        # A longer stop string that begins before one that is complete may still turn out to be the first.
        self.ended = final or (found < len(self._held) and found <= certain)
        certain = min(found, certain)
        piece, self._held = self._held[:certain], self._held[certain:]
        return piece

    def _possible_stop(self):
        """The length of the longest end of the text with which a stop string begins."""
        lengths = (
            n
            for stop in self._stops
            for n in range(1, min(len(stop), len(self._held) + 1))
            if self._held.endswith(stop[:n])
        )
        return max(lengths, default=0)


def _whole(graph, prompts, max_length, sampling, seeds):
    """All that follows the prompts, in one call of the graph."""
    shape = (len(prompts),)
    ids = graph.continuation(
        tf.constant(prompts, tf.string, shape), tf.constant(max_length), sampling, tf.constant(seeds, tf.int64, shape)
    )
    return [TextStreamer(graph.vocabulary).add(row, final=True) for row in ids.numpy()]


def _pieces(graph, prompts, max_length, sampling, seeds, stops):
    """Yields a list of one piece of text for every row, until all rows have ended."""
    rows = [TextStreamer(graph.vocabulary, stops) for _ in prompts]
    logits, *states = graph.prefill(tf.constant(prompts, tf.string, shape=(len(prompts),)))
    seeds = tf.constant(seeds, tf.int64, shape=(len(prompts),))
    for position in range(0, max_length, TOKENS_PER_YIELD):
        count = min(TOKENS_PER_YIELD, max_length - position)
        ids, logits, *states = graph.decode(seeds, tf.constant(position), tf.constant(count), sampling, logits, *states)
        ids = ids.numpy()[:, :count]
        final = position + count == max_length
        yield [row.add(row_ids, final) for row, row_ids in zip(rows, ids, strict=True)]
        if all(row.ended for row in rows):
            return


def row_seeds(seed, rows):
    """One int64 seed per row: s, s + 1, ... for an integer s; a list as it is; new ones for None.

    Example:

    >>> from tfcharlm.generation.streaming import row_seeds
    >>> row_seeds(7, 3)
    [7, 8, 9]
    """
    if seed is None:
        seed = secrets.randbelow(2**62)
    try:
        seeds = list(seed)
    except TypeError:
        seeds = [int(seed) + row for row in range(rows)] if seed in ROW_SEED else []
    if len(seeds) != rows or not all(value in ROW_SEED for value in seeds):
        raise ValueError(
            f"seed must be an integer of 64 bits, or a list of {rows}, one for each row; received {seed!r}."
        )
    return list(map(int, seeds))


def checked_prompt(vocabulary, prompt):
    """The prompt; a ValueError if a model with this vocabulary cannot continue it."""
    if not isinstance(prompt, str):
        raise ValueError(f"prompt must be a string; received {prompt!r:.80}.")
    if prompt == "" and not vocabulary.line_start:
        raise ValueError("an empty prompt starts a line, but this model has no newline; received an empty prompt.")
    try:
        vocabulary.encode(prompt)
    except UnknownTokenError as error:
        raise ValueError(f"prompt: {error.what}; a model continues only what its corpus contains.") from error
    return prompt


def _checked(graph, prompts, max_length, sampling, seed):
    for prompt in dict.fromkeys(prompts):
        checked_prompt(graph.vocabulary, prompt)
    max_length = LENGTH.check("max_length", max_length)
    return prompts, max_length, sampling.checked().tensors(), row_seeds(seed, len(prompts))


def _checked_stops(stop):
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) and s for s in stops):
        raise ValueError(f"stop must be None, a string or a list of strings, none of them empty; received {stop!r}.")
    return stops

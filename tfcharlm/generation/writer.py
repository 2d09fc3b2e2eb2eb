"""Continuing prompts from Python: several samples, stop strings, pieces as they are made."""

import codecs
import secrets

import numpy as np
import tensorflow as tf

from tfcharlm.generation.limits import check_count, check_sampling, checked_texts, whole_number
from tfcharlm.text.vocabulary import UnknownTokenError

# Tokens between two looks at what has been written: soon enough to watch, seldom enough not to cost anything.
LOOK = 16


def generate(model, prompts, max_length, temperature, top_k, top_p, seed, stop=None, samples=1, callback=None):
    """`CharLM.generate`."""
    check_count("samples", samples)
    prompts, single = checked_texts("prompts", prompts)
    texts = [prompt for prompt in prompts for _ in range(samples)]
    arguments = _checked(model, list(texts), max_length, temperature, top_k, top_p, seed)
    stops = _checked_stops(stop)
    parts = _pieces(model, *arguments, stops) if stops or callback else [_whole(model, *arguments)]
    for pieces in parts:
        for row, piece in enumerate(pieces):
            texts[row] += piece
            if callback is not None and piece:
                callback(row, piece)
    if samples > 1:
        texts = [texts[row : row + samples] for row in range(0, len(texts), samples)]
    return texts[0] if single else texts


def stream(model, prompt, max_length, temperature, top_k, top_p, seed, stop=None):
    """`CharLM.stream`; its arguments are checked before the first piece is made."""
    arguments = _checked(model, [checked_prompt(model.vocabulary, prompt)], max_length, temperature, top_k, top_p, seed)
    return (pieces[0] for pieces in _pieces(model, *arguments, _checked_stops(stop)))


class Continuation:
    """What follows a prompt, as its tokens come in: text that is whole, and cut off before the first stop string.

    Args:
        vocabulary: a `Vocabulary`.
        stops: strings that end it.

    Example:

    >>> vocabulary = Vocabulary("abc.")
    >>> continuation = Continuation(vocabulary, stops=["c."])
    >>> continuation.add(vocabulary.encode("abc"), final=False)     # "c" might be the beginning of a stop
    'ab'
    >>> continuation.add(vocabulary.encode(".b"), final=False), continuation.ended
    ('', True)
    """

    def __init__(self, vocabulary, stops=()):
        self.ended = False
        self._vocabulary = vocabulary
        self._stops = stops
        self._held = ""
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, ids, final):
        """The text that is certain now and was not before; with `final`, all of the rest."""
        if self.ended:
            return ""
        if self._vocabulary.level == "byte":
            self._held += self._bytes.decode(np.asarray(ids, np.uint8).tobytes(), final)
        else:
            self._held += self._vocabulary.decode(ids)
        found = min((place for place in map(self._held.find, self._stops) if place >= 0), default=len(self._held))
        certain = len(self._held) - (0 if final else self._possible_stop())
        # A longer stop string that begins before one that is there already may still turn out to be the first.
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


def _whole(model, prompts, max_length, sampling, seeds):
    """All that follows the prompts, in one call of the graph."""
    shape = (len(prompts),)
    ids = model.text_graph().continuation(
        tf.constant(prompts, tf.string, shape), tf.constant(max_length), *sampling, tf.constant(seeds, tf.int64, shape)
    )
    return [Continuation(model.vocabulary).add(row, final=True) for row in ids.numpy()]


def _pieces(model, prompts, max_length, sampling, seeds, stops):
    """Yields a list of one piece of text for every row, until all have ended."""
    graph = model.text_graph()
    rows = [Continuation(model.vocabulary, stops) for _ in prompts]
    logits, *states = graph.read(tf.constant(prompts, tf.string, shape=(len(prompts),)))
    seeds = tf.constant(seeds, tf.int64, shape=(len(prompts),))
    for position in range(0, max_length, LOOK):
        count = min(LOOK, max_length - position)
        ids, logits, *states = graph.write(seeds, tf.constant(position), tf.constant(count), *sampling, logits, *states)
        ids = ids.numpy()[:, :count]
        final = position + count == max_length
        yield [row.add(own, final) for row, own in zip(rows, ids, strict=True)]
        if all(row.ended for row in rows):
            return


def row_seeds(seed, rows):
    """One int64 seed a row: s, s + 1, ... for an integer s; a list as it is; new ones for None.

    Example:

    >>> row_seeds(7, 3)
    [7, 8, 9]
    """
    first = secrets.randbelow(2**62) if seed is None else whole_number(seed)
    try:
        seeds = list(seed) if first is None else [first + row for row in range(rows)]
    except TypeError:
        seeds = []
    seeds = [whole_number(s) for s in seeds]
    if len(seeds) != rows or not all(s is not None and -(2**63) <= s < 2**63 for s in seeds):
        raise ValueError(f"seed must be an integer of 64 bits, or a list of {rows}, one a row; received {seed!r}.")
    return seeds


def checked_prompt(vocabulary, prompt):
    """The prompt; a ValueError for what a model with this vocabulary cannot go on from."""
    if not isinstance(prompt, str):
        raise ValueError(f"prompt must be a string; received {prompt!r:.80}.")
    if prompt == "" and not len(vocabulary.encode("\n", errors="ignore")):
        raise ValueError("an empty prompt is the start of a line, but this model knows no newline; give it a prompt.")
    try:
        vocabulary.encode(prompt)
    except UnknownTokenError as error:
        raise ValueError(f"prompt: {error.what}; a model goes on only from what its corpus has.") from error
    return prompt


def _checked(model, prompts, max_length, temperature, top_k, top_p, seed):
    for prompt in dict.fromkeys(prompts):
        checked_prompt(model.vocabulary, prompt)
    check_sampling(max_length, temperature, top_k, top_p)
    sampling = tf.constant(temperature, tf.float32), tf.constant(top_k, tf.int32), tf.constant(top_p, tf.float32)
    return prompts, int(max_length), sampling, row_seeds(seed, len(prompts))


def _checked_stops(stop):
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) and s for s in stops):
        raise ValueError(f"stop must be None, a string or a list of strings, none of them empty; received {stop!r}.")
    return stops

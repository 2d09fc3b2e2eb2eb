"""The graphs that exports of earlier versions have. `inspect_model` compares such exports with them.

A graph may be removed when no export of its versions is in use any more.
"""

import tensorflow as tf

from tfcharlm.generation import limits
from tfcharlm.generation.graph import TextGraph

SCORE_CHUNK = 512


class EarlierTextGraph(TextGraph):
    """The `TextGraph` of version 0.1.0. It computes single rows, and scores whole sequences for any vocabulary.

    Args:
        model: a `LanguageModel`.
        jit_compile: as for `TextGraph`.

    Example:

    >>> import tensorflow as tf
    >>> import tfcharlm
    >>> from tfcharlm.generation import EARLIER_GRAPHS
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
    >>> EARLIER_GRAPHS["0.1.0"](model).score(tf.constant(["ab", "b"]))["tokens"].numpy()
    array([2, 1], dtype=int32)
    """

    smallest_tile = 1

    def _score(self, texts):
        texts = tf.ensure_shape(texts, [None])
        with tf.control_dependencies(limits.score_checks(texts, self._width)):
            ids = self.codec.encode(tf.identity(texts), name="texts")
        rows = tf.size(texts)
        at_once = limits.scored_at_once(rows, self._width, SCORE_CHUNK)
        tokens, targets, lengths = self._shifted(ids)
        length = tf.shape(tokens)[1]

        def score_chunk(begin, nats, characters, *states):
            end = tf.minimum(begin + at_once, length)
            mask = tf.range(begin, end) < lengths[:, None]
            more_nats, more_characters, *states = self._score_chunk(
                tokens[:, begin:end], targets[:, begin:end], mask, *states
            )
            return end, nats + more_nats, characters + more_characters, *states

        zeros = tf.zeros((rows,), tf.float64)
        _, nats, characters, *_ = tf.while_loop(
            lambda begin, *_: begin < length,
            score_chunk,
            (0, zeros, zeros, *self.initial_state(rows)),
            parallel_iterations=1,
        )
        bits = -nats / tf.maximum(characters, 1) / tf.math.log(tf.constant(2, tf.float64))
        return {"log_probability": nats, "tokens": lengths, "bits_per_character": bits}

    def _shifted(self, ids):
        """The tokens to read and the tokens to predict, int32 (B, T) each, and how many there are in each row."""
        start = tf.constant(self._line_start, tf.int32)
        lengths = tf.cast(ids.row_lengths(), tf.int32)
        targets = ids.to_tensor()
        if self._line_start:
            first = tf.tile(start[None], [tf.shape(targets)[0], 1])
            return tf.concat([first, targets[:, :-1]], axis=1)[:, : tf.shape(targets)[1]], targets, lengths
        return targets[:, :-1], targets[:, 1:], tf.maximum(lengths - 1, 0)

    def _score_chunk(self, tokens, targets, mask, *states):
        """The sums of log-probabilities and of characters, float64 (B,) each, and the states after the chunk."""
        logits, states = self._step(tokens, states, mask=mask)
        nats = -tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))
        characters = tf.gather(tf.constant(self.vocabulary.characters_per_token, tf.float64), targets)
        sums = (
            tf.reduce_sum(tf.where(mask, tf.cast(values, tf.float64), 0.0), axis=1) for values in (nats, characters)
        )
        return *sums, *states


# The graphs that differ from the present one, by the version of tfcharlm that exported them.
EARLIER_GRAPHS: dict[str, type[TextGraph]] = {"0.1.0": EarlierTextGraph}

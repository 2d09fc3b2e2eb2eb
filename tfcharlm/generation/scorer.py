"""Adds up how probable the tokens of texts are, in a graph: with the compiled loop, or in whole sequences.

The loop computes the logits of one token after another. That is the fastest way while the weights of the logits fit
into the processor's cache. For a large vocabulary, one matrix product for all tokens is faster. It is also faster where
XLA does not compile the loop.
"""

from collections.abc import Callable

import tensorflow as tf

from tfcharlm.generation import limits
from tfcharlm.generation.loop import DECODE_BLOCK, TokenLoop

# Tokens of a row in one sequence: enough for an efficient matrix product, and few enough to hold their logits.
SEQUENCE_BLOCK = 512
# With one text, the loop was two to three times as fast with up to 2,000 tokens, and slower from 4,000 on.
LARGEST_VOCABULARY_OF_LOOP = 2048


class Scorer:
    """Scores the rows of a batch, starting from given logits and states.

    Args:
        loop: the `TokenLoop` of the model.
        step: `step(tokens (B, T), states, mask) -> (logits (B, T, V), states)`.
    """

    def __init__(self, loop: TokenLoop, step: Callable) -> None:
        self._loop, self._step = loop, step
        self._vocabulary_size = loop.specs[0].shape[1]
        self._width = sum(spec.shape[1] for spec in loop.specs)

    def score(self, tokens: tf.Tensor, lengths: tf.Tensor, *results: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Reads texts.

        Args:
            tokens: int32 (B, T), with padding at the end.
            lengths: int32 (B,), how many tokens each row has.
            *results: the logits before the first token, (B, V), and the states.

        Returns:
            `(nats (B,), logits, *states)`: the sums of log-probabilities of the tokens, float64, and the logits and
            states after the last token of each row.
        """
        if self._loop.is_compiled and self._vocabulary_size <= LARGEST_VOCABULARY_OF_LOOP:
            return _in_blocks(self._loop_block, DECODE_BLOCK, tokens, lengths, results)
        size = limits.scored_at_once(tf.shape(tokens)[0], self._width, SEQUENCE_BLOCK)
        return _in_blocks(self._sequence_block, size, tokens, lengths, results)

    def certain_logits(self, tokens: tf.Tensor) -> tf.Tensor:
        """Logits (B, V) under which the first of the tokens (B, T) has the probability 1, because it is given."""
        first = tf.pad(tokens, [[0, 0], [0, 1]])[:, :1]
        # As good as -infinity, which `tf.debugging.enable_check_numerics()` would take for a mistake.
        return tf.where(tf.equal(tf.range(self._vocabulary_size), first), 0.0, -1e30)

    def token_scores(self, tokens: tf.Tensor, *results: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Reads texts without padding, and keeps what `score` adds up. No export contains it.

        Args:
            tokens: int32 (B, T), T at least 1.
            *results: the logits before the first token, (B, V), and the states.

        Returns:
            `(nats (B, T), logits, *states)`: the log-probability of every token, float64, and the logits and states
            after the last token.
        """
        logits, *states = results
        following, states = self._step(tokens, states)
        following = tf.cast(following, tf.float32)
        before = tf.concat([logits[:, None], following[:, :-1]], axis=1)
        return _log_probabilities(before, tokens), following[:, -1], *states

    def _loop_block(self, tokens, lengths, *results):
        count = tf.shape(tokens)[1]
        block = tf.ensure_shape(tf.pad(tokens, [[0, 0], [0, DECODE_BLOCK - count]]), (None, DECODE_BLOCK))
        return self._loop.score(count, block, lengths, *results)

    def _sequence_block(self, tokens, lengths, logits, *states):
        positions = tf.range(tf.shape(tokens)[1])
        following, states = self._step(tokens, states, mask=positions < lengths[:, None])
        following = tf.cast(following, tf.float32)
        # The logits after a token belong to the next one. After the last token of a block, nothing is counted.
        nats = _log_probabilities(following, tf.concat([tokens[:, 1:], tokens[:, :1]], axis=1))
        nats = tf.reduce_sum(tf.where(positions + 1 < lengths[:, None], nats, 0.0), axis=1)
        first = tf.where(lengths > 0, _log_probabilities(logits, tokens[:, 0]), 0.0)
        last = tf.gather(following, tf.clip_by_value(lengths - 1, 0, tf.size(positions) - 1), batch_dims=1)
        return nats + first, tf.where(lengths[:, None] > 0, last, logits), *states


def _in_blocks(score_block, size, tokens, lengths, results):
    longest = tf.reduce_max(tf.concat([lengths, [0]], axis=0))

    def one(begin, nats, *results):
        block = tokens[:, begin : tf.minimum(begin + size, longest)]
        more, *results = score_block(block, tf.clip_by_value(lengths - begin, 0, tf.shape(block)[1]), *results)
        return begin + size, nats + more, *results

    first = (0, tf.zeros_like(lengths, tf.float64), *results)
    return tf.while_loop(lambda begin, *_: begin < longest, one, first, parallel_iterations=1)[1:]


def _log_probabilities(logits, tokens):
    # The cross-entropy of TensorFlow is another graph if operations must be deterministic.
    found = tf.gather(tf.nn.log_softmax(logits), tokens, batch_dims=len(tokens.shape))
    return tf.cast(found, tf.float64)

"""Blocks of tokens for rows that begin and end independently of each other, as a server needs them."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcharlm.generation.compiled_once import CompiledOnce
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.noise import uniform_at
from tfcharlm.generation.sampling import draw_rows
from tfcharlm.generation.sampling_settings import Sampling

# Tokens of one call, at most; and how many of the most likely tokens it can report.
ROW_BLOCK, MOST_LIKELY = 128, 5


class RowBlock(NamedTuple):
    """What one call of `RowBlocks` made, for B rows.

    Args:
        ids: int32 (B, count), the tokens that were read or written.
        log_probabilities: float32 (B, count), of each of these tokens, in nats, before temperature and truncation.
        likely_ids: int32 (B, count, n), the most likely tokens at each position, the most likely first; n is 5, or the
            size of a smaller vocabulary, and 0 unless they were asked for.
        likely_log_probabilities: float32 (B, count, n).
        results: the logits after the last token, (B, V), and the states.
    """

    ids: np.ndarray
    log_probabilities: np.ndarray
    likely_ids: np.ndarray
    likely_log_probabilities: np.ndarray
    results: list[np.ndarray]


class RowBlocks:
    """Reads and writes blocks of tokens in rows, each with a prompt, a position, a seed and settings of its own.

    A row gives the same tokens as `CharLM.generate` does for its prompt, seed and settings, to the bit, whatever the
    other rows are. Each row keeps its logits and states between two calls, so rows may join and leave (Yu et al. 2022).

    Args:
        graph: the `TextGraph` of a model.

    Example:

    >>> import numpy as np
    >>> import tfcharlm
    >>> from tfcharlm.generation import RowBlocks, Sampling
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
    >>> blocks = RowBlocks(model.text_graph())
    >>> given = model.vocabulary.encode("\\nab")
    >>> block = blocks(10, [given], [0], [7], [Sampling()], blocks.first_results(1))
    >>> model.vocabulary.decode(block.ids[0, 3:]) == model.generate("ab", max_length=7, seed=7)[2:]
    True

    Reference: Yu et al. (2022), Orca: a distributed serving system for transformer-based generative models.
    """

    def __init__(self, graph: TextGraph) -> None:
        self._loop, self._initial_state = graph.loop, graph.initial_state
        self._likely = min(MOST_LIKELY, len(graph.vocabulary))
        # Two loops. A condition inside of one would take as long as everything else in it, also if it never holds: XLA
        # then runs the tiles hardly at the same time.
        self._plain, self._full = (self._compiled(is_plain) for is_plain in (True, False))

    def __call__(
        self,
        count: int,
        given: Sequence[np.ndarray],
        written: Sequence[int],
        seeds: Sequence[int],
        sampling: Sequence[Sampling],
        results: Sequence[np.ndarray],
        with_likely: bool = False,
    ) -> RowBlock:
        """Runs `count` tokens in B rows, at least one.

        Args:
            count: the number of tokens of this block, at most 128. The same for all rows.
            given: for each row the ids that it reads first, at most `count` of them; it writes the rest.
            written: for each row, how many tokens it has written before.
            seeds: for each row an integer of 64 bits.
            sampling: for each row its `Sampling`, of checked numbers.
            results: the logits (B, V) and states of the rows, from `first_results` or an earlier call.
            with_likely: whether to report the most likely tokens. False by default.

        Returns:
            A `RowBlock`.
        """
        padded = np.zeros((len(given), ROW_BLOCK), np.int32)
        for row, ids in zip(padded, given, strict=True):
            row[: len(ids)] = ids
        lengths = np.array([len(ids) for ids in given], np.int32)
        numbers = zip(*sampling, strict=True)
        dtypes = (np.float32, np.int32, np.float32)
        settings = [np.array(values, dtype) for values, dtype in zip(numbers, dtypes, strict=True)]
        rows = padded, lengths, np.array(written, np.int32), np.array(seeds, np.int64), *settings
        is_plain = not with_likely and not any(one.truncates for one in sampling)
        block = self._plain if is_plain else self._full
        made, *after = block(*rows, np.int32(count), *results)
        made = made.numpy()[:, :count] if with_likely else made.numpy()[:, :count, :2]
        ids, log_probabilities, likely = made[..., 0], made[..., 1].view(np.float32), made[..., 2:]
        likely_ids, likely_nats = np.split(likely, 2, axis=-1)
        return RowBlock(ids, log_probabilities, likely_ids, likely_nats.view(np.float32), [x.numpy() for x in after])

    def first_results(self, rows: int) -> list[np.ndarray]:
        """The logits and states of rows that have read nothing."""
        return [np.zeros((rows, self._loop.specs[0].shape[1]), np.float32), *map(np.asarray, self._initial_state(rows))]

    def warm_up(self, rows: int) -> None:
        """Compiles what batches of up to so many rows need."""
        self._plain.warm_up(rows)
        self._full.warm_up(rows)

    def _compiled(self, is_plain):
        """A function of a block, with truncation and the most likely tokens or without them."""
        steps = functools.partial(self._steps, is_plain)
        tile = tf.function(steps, autograph=False, jit_compile=self._loop.is_compiled)
        made = tf.TensorSpec((None, ROW_BLOCK, 2 if is_plain else 2 + 2 * self._likely), tf.int32)

        def in_tiles(given, lengths, written, seeds, temperature, top_k, top_p, count, *results):
            rows = given, lengths, written, seeds, temperature, top_k, top_p, *results
            return self._loop.in_tiles(tile, (count,), (), made, rows)

        rows, number = (lambda dtype: tf.TensorSpec([None], dtype)), tf.TensorSpec([], tf.int32)
        signature = [tf.TensorSpec([None, ROW_BLOCK], tf.int32), rows(tf.int32), rows(tf.int32), rows(tf.int64)]
        signature += [rows(tf.float32), rows(tf.int32), rows(tf.float32), number, *self._loop.specs]
        return CompiledOnce(in_tiles, signature)

    def _steps(self, is_plain, values, count, given, lengths, written, seeds, temperature, top_k, top_p, *results):
        """`count` steps of a tile of rows. Everything that is made of a token is one row of integers."""
        given, sampling = tf.transpose(given), Sampling(temperature[:, None], top_k[:, None], top_p[:, None])
        rows = tf.shape(given)[1]
        # For the whole block, outside of the loop, as the loop of `generate` does.
        own = tf.maximum(tf.range(ROW_BLOCK) - lengths[:, None], 0)
        noise = tf.transpose(uniform_at(seeds, written[:, None] + own))
        width = 2 if is_plain else 2 + 2 * self._likely
        made = tf.TensorArray(tf.int32, ROW_BLOCK).unstack(tf.zeros((ROW_BLOCK, rows, width), tf.int32))

        def one(t, made, logits, *states):
            token = tf.where(t < lengths, given[t], draw_rows(logits, noise[t], sampling, truncates=not is_plain))
            nats = tf.nn.log_softmax(logits)
            # A gather, because under XLA the cross-entropy of a logit of -inf is NaN.
            chosen = tf.gather(nats, token, batch_dims=1)
            parts = [token[:, None], tf.bitcast(chosen, tf.int32)[:, None]]
            if not is_plain:
                likely, ids = tf.math.top_k(nats, self._likely)
                parts += [ids, tf.bitcast(likely, tf.int32)]
            logits, states = self._loop.step(values, token[:, None], states)
            return t + 1, made.write(t, tf.concat(parts, axis=1)), tf.cast(logits[:, 0], tf.float32), *states

        _, made, *results = tf.while_loop(
            lambda t, *_: t < count, one, (0, made, *results), maximum_iterations=ROW_BLOCK
        )
        return tf.transpose(made.stack(), [1, 0, 2]), *results

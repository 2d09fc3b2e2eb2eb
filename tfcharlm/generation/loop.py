"""The loops that read, write and score text, one token per turn. XLA compiles them for tiles of rows and blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcharlm.generation.debugging import is_debugging
from tfcharlm.generation.noise import uniform
from tfcharlm.generation.sampling import sample
from tfcharlm.generation.sampling_settings import Sampling

# Tokens that one call of the compiled loop can read or write. The loop is compiled once for every number of rows in a
# tile, and not for every length. With larger blocks, a short text would waste more of the noise made for its block.
DECODE_BLOCK = 512
# Tiles of rows that may be written at the same time, one per core.
PARALLEL_TILES = 32


class TokenLoop(tf.Module):
    """Runs the step of a model in loops: one reads and writes, another one scores.

    Args:
        step: `step(values, tokens (B, 1), states) -> (logits (B, 1, V), states)`, a function of its arguments only.
        variables: the variables whose values the step gets, in their order.
        specs: the tensor specs of the logits (B, V) and of the states.
        jit_compile: whether XLA compiles the loops; True by default.
        smallest_tile: the number of rows that are computed at least. With 2 (default), a row has the same bits in a
            tile of any size. XLA multiplies a single row by another function, which adds in another order.
    """

    def __init__(
        self,
        step: Callable,
        variables: Sequence[Any],
        specs: Sequence[tf.TensorSpec],
        jit_compile: bool = True,
        smallest_tile: int = 2,
    ) -> None:
        super().__init__()
        self.step, self._variables, self.specs, self.is_compiled = step, variables, specs, jit_compile
        self._smallest_tile = smallest_tile
        self._compiled_tile = tf.function(self._tile, autograph=False, jit_compile=jit_compile)
        self._compiled_score_tile = tf.function(self._score_tile, autograph=False, jit_compile=jit_compile)

    def __call__(
        self,
        reads: bool,
        position: int | tf.Tensor,
        count: int | tf.Tensor,
        sampling: Sampling,
        *batches: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """Reads or writes `count` tokens in any number of rows.

        Args:
            reads: True reads the given tokens, False writes new ones.
            position: int32, the position of the first token in the noise of its row.
            count: int32, at most DECODE_BLOCK.
            sampling: a `Sampling` of tensors.
            *batches: the given tokens, int32 (B, DECODE_BLOCK), with padding at the end; how many of them each row has,
                int32 (B,); seeds, int64 (B,); the logits before the first token, (B, V); the states.

        Returns:
            `(ids (B, DECODE_BLOCK), logits, *states)`: the tokens, and the logits and states after the last token of
            each row.
        """
        made = tf.TensorSpec((None, DECODE_BLOCK), tf.int32)
        # XLA cannot compile what TensorFlow's debugger adds to graphs.
        tile = self._tile if is_debugging() else self._compiled_tile
        return self.in_tiles(tile, (reads, position, count), (sampling,), made, batches)

    def score(self, count: int | tf.Tensor, *batches: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Reads tokens in any number of rows, and adds up how probable they were.

        Args:
            count: int32, how many tokens the longest row has, at most DECODE_BLOCK.
            *batches: the tokens, int32 (B, DECODE_BLOCK), with padding at the end; how many of them each row has, int32
                (B,); the logits before the first token, (B, V); the states.

        Returns:
            `(nats (B,), logits, *states)`: the sums of log-probabilities, float64, and the logits and states after the
            last token of each row.
        """
        tile = self._score_tile if is_debugging() else self._compiled_score_tile
        return self.in_tiles(tile, (count,), (), tf.TensorSpec((None,), tf.float64), batches)

    def in_tiles(
        self,
        tile: Callable,
        numbers: Sequence[int | tf.Tensor],
        arguments: Sequence[Any],
        made: tf.TensorSpec,
        batches: Sequence[tf.Tensor],
    ) -> tuple[tf.Tensor, ...]:
        """Calls a function for tiles of the rows: few enough for one per core, and of few different sizes to compile.

        Args:
            tile: called as `tile(values, *numbers, *arguments, *batches)`, with the values of the variables. It returns
                something that it made, logits and states.
            numbers: numbers, the same for all tiles.
            arguments: anything else that is the same for all tiles.
            made: the spec of what the function makes.
            batches: tensors (B, ...), of which each tile gets some rows.

        Returns:
            What all tiles returned, joined.
        """
        rows = tf.shape(batches[0])[0]
        size = tf.where(rows <= 8, self._smallest_tile, tf.where(rows <= 32, 8, 32))
        count_of_tiles = tf.maximum(1, (rows + size - 1) // size)
        values = [tf.convert_to_tensor(variable) for variable in self._variables]

        def in_tiles(tensor):
            rest = tf.shape(tensor)[1:]
            padding = tf.zeros(tf.concat([[count_of_tiles * size - rows], rest], axis=0), tensor.dtype)
            return tf.reshape(tf.concat([tensor, padding], axis=0), tf.concat([[count_of_tiles, size], rest], axis=0))

        tiles = [tf.ensure_shape(in_tiles(tensor), (None, None, *tensor.shape[1:])) for tensor in batches]
        results = [tf.TensorArray(spec.dtype, count_of_tiles, element_shape=spec.shape) for spec in (made, *self.specs)]
        numbers = [tf.convert_to_tensor(number) for number in numbers]

        def one(i, *results):
            values_of_tile = tile(values, *numbers, *arguments, *(batch[i] for batch in tiles))
            return i + 1, *(result.write(i, value) for result, value in zip(results, values_of_tile, strict=True))

        _, *results = tf.while_loop(
            lambda i, *_: i < count_of_tiles, one, (0, *results), parallel_iterations=PARALLEL_TILES
        )
        return tuple(result.concat()[:rows] for result in results)

    def _tile(self, values, reads, position, count, sampling, given, lengths, seed, logits, *states):
        """`count` steps of a few rows: reads the given tokens (R, DECODE_BLOCK), of lengths (R,), or writes new ones.

        Reading and writing are one function, so that XLA compiles only one. The values of the variables are arguments:
        if the function read the variables itself, its tiles would wait for each other.
        """
        noise, given = tf.transpose(uniform(seed, position + tf.range(DECODE_BLOCK))), tf.transpose(given)
        ids = tf.TensorArray(tf.int32, DECODE_BLOCK).unstack(tf.zeros_like(given))

        def one(t, ids, logits, *states):
            token = tf.cond(reads, lambda: given[t], lambda: sample(logits, noise[t], sampling))
            new_logits, new_states = self.step(values, token[:, None], states)
            continues = (~reads | (t < lengths))[:, None]
            results = [tf.where(continues, new, old) for new, old in zip(
                (tf.cast(new_logits[:, 0], tf.float32), *new_states), (logits, *states), strict=True)]  # fmt: skip
            return t + 1, ids.write(t, token), *results

        _, ids, *results = tf.while_loop(
            lambda t, *_: t < count, one, (0, ids, logits, *states), maximum_iterations=DECODE_BLOCK
        )
        return tf.transpose(ids.stack()), *results

    def _score_tile(self, values, count, tokens, lengths, logits, *states):
        """The same for `score`. Without noise and sampling, XLA compiles it in a third of the time of `_tile`."""
        tokens = tf.transpose(tokens)

        def one(t, nats, logits, *states):
            # A gather, because under XLA the cross-entropy of a logit of -inf is NaN.
            log_probability = tf.gather(tf.nn.log_softmax(logits), tokens[t], batch_dims=1)
            new_logits, new_states = self.step(values, tokens[t][:, None], states)
            continues = t < lengths
            results = [tf.where(continues[:, None], new, old) for new, old in zip(
                (tf.cast(new_logits[:, 0], tf.float32), *new_states), (logits, *states), strict=True)]  # fmt: skip
            return t + 1, nats + tf.where(continues, tf.cast(log_probability, tf.float64), 0.0), *results

        first = (0, tf.zeros_like(lengths, tf.float64), logits, *states)
        return tf.while_loop(lambda t, *_: t < count, one, first, maximum_iterations=DECODE_BLOCK)[1:]


def fewest_rows(rows: int) -> int:
    """The smallest batch with the tiles of `rows` rows, so that a call with it compiles what they need.

    Example:

    >>> from tfcharlm.generation.loop import fewest_rows
    >>> [fewest_rows(rows) for rows in (8, 9, 400)]
    [1, 9, 33]
    """
    return 1 if rows <= 8 else 9 if rows <= 32 else 33

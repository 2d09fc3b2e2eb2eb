"""The loop that reads prompts and writes text, one token per turn. XLA compiles it for tiles of rows and blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcharlm.generation.debugging import is_debugging
from tfcharlm.generation.sampling import Sampling, sample, uniform

# Tokens that one call of the compiled loop can read or write. The loop is compiled once for every number of rows in a
# tile, and not for every length. With larger blocks, a short text would waste more of the noise made for its block.
DECODE_BLOCK = 512
# Tiles of rows that may be written at the same time, one per core.
PARALLEL_TILES = 32


class TokenLoop(tf.Module):
    """Runs the step of a model in a loop.

    Args:
        step: `step(values, tokens (B, 1), states) -> (logits (B, 1, V), states)`, a function of its arguments only.
        variables: the variables whose values the step gets, in their order.
        specs: the tensor specs of the logits (B, V) and of the states.
        jit_compile: whether XLA compiles the loop; True by default.
    """

    def __init__(
        self, step: Callable, variables: Sequence[Any], specs: Sequence[tf.TensorSpec], jit_compile: bool = True
    ) -> None:
        super().__init__()
        self._step, self._variables, self.specs = step, variables, specs
        self._compiled_tile = tf.function(self._tile, autograph=False, jit_compile=jit_compile)

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
        rows = tf.shape(batches[0])[0]
        size = _tile_rows(rows)
        count_of_tiles = tf.maximum(1, (rows + size - 1) // size)
        values = [tf.convert_to_tensor(variable) for variable in self._variables]

        def in_tiles(tensor):
            rest = tf.shape(tensor)[1:]
            padding = tf.zeros(tf.concat([[count_of_tiles * size - rows], rest], axis=0), tensor.dtype)
            return tf.reshape(tf.concat([tensor, padding], axis=0), tf.concat([[count_of_tiles, size], rest], axis=0))

        tiles = [tf.ensure_shape(in_tiles(tensor), (None, None, *tensor.shape[1:])) for tensor in batches]
        results = [
            tf.TensorArray(spec.dtype, count_of_tiles, element_shape=spec.shape)
            for spec in (tf.TensorSpec((None, DECODE_BLOCK), tf.int32), *self.specs)
        ]
        arguments = [tf.convert_to_tensor(a) for a in (reads, position, count)]
        # XLA cannot compile what TensorFlow's debugger adds to graphs.
        run_tile = self._tile if is_debugging() else self._compiled_tile

        def one(i, *results):
            made = run_tile(values, *arguments, sampling, *(tile[i] for tile in tiles))
            return i + 1, *(result.write(i, value) for result, value in zip(results, made, strict=True))

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
            new_logits, new_states = self._step(values, token[:, None], states)
            continues = (~reads | (t < lengths))[:, None]
            results = [tf.where(continues, new, old) for new, old in zip(
                (tf.cast(new_logits[:, 0], tf.float32), *new_states), (logits, *states), strict=True)]  # fmt: skip
            return t + 1, ids.write(t, token), *results

        _, ids, *results = tf.while_loop(
            lambda t, *_: t < count, one, (0, ids, logits, *states), maximum_iterations=DECODE_BLOCK
        )
        return tf.transpose(ids.stack()), *results


def _tile_rows(rows):
    """The number of rows in a tile: small enough for a tile per core, and few different sizes to compile."""
    return tf.where(rows <= 8, 1, tf.where(rows <= 32, 8, 32))

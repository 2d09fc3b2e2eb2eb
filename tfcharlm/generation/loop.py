"""The loop that reads prompts and writes text, a token a turn, compiled by XLA: tiles of rows, blocks of tokens."""

import tensorflow as tf

from tfcharlm.generation.sampling import sample, uniform

# Tokens that one call of the compiled loop can read or write. It is compiled once for every number of rows in a tile
# and for no length; larger blocks only make more noise that a short text does not use.
DECODE_BLOCK = 512
# Tiles of rows that may be written at the same time, one a core.
PARALLEL_TILES = 32


class TokenLoop(tf.Module):
    """A model's step, turn after turn.

    Args:
        model: a `LanguageModel`; of it, `variables`, `stateless_step`, and the sizes of logits and states are used.
        jit_compile: whether XLA compiles the loop.
    """

    def __init__(self, model, jit_compile=True):
        super().__init__()
        self._variables = model.variables
        self._stateless_step = model.stateless_step
        self._tile = tf.function(self._tile, autograph=False, jit_compile=jit_compile)
        # Of logits and states.
        self.specs = [tf.TensorSpec((None, len(model.vocabulary)), tf.float32)]
        self.specs += [tf.TensorSpec((None, *state.shape[1:]), state.dtype) for state in model.initial_state(1)]

    def __call__(self, reads, position, count, sampling, *batches):
        """Reads or writes `count` tokens in any number of rows.

        Args:
            reads: bool; whether to read the tokens given, or to write new ones.
            position: int32, of the first token in the noise of its row.
            count: int32, at most DECODE_BLOCK.
            sampling: a `Sampling` of tensors.
            *batches: tokens given, int32 (B, DECODE_BLOCK), the number of them in each row, int32 (B,), the rest being
                padding; seeds, int64 (B,); logits (B, V) before the first token; states.

        Returns:
            `(ids (B, DECODE_BLOCK), logits, *states)`: the tokens and, after the last of each row, logits and states.
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

        def one(i, *results):
            made = self._tile(values, *arguments, sampling, *(tile[i] for tile in tiles))
            return i + 1, *(result.write(i, value) for result, value in zip(results, made, strict=True))

        _, *results = tf.while_loop(
            lambda i, *_: i < count_of_tiles, one, (0, *results), parallel_iterations=PARALLEL_TILES
        )
        return tuple(result.concat()[:rows] for result in results)

    def _tile(self, values, reads, position, count, sampling, given, lengths, seed, logits, *states):
        """`count` steps of a few rows: reads the tokens given, (R, DECODE_BLOCK) with their lengths (R,), or writes new ones.

        Reading and writing are one function, so that XLA compiles one. The values of the variables are arguments:
        tiles of a function that reads the variables itself wait for each other.
        """
        noise, given = tf.transpose(uniform(seed, position + tf.range(DECODE_BLOCK))), tf.transpose(given)
        ids = tf.TensorArray(tf.int32, DECODE_BLOCK).unstack(tf.zeros_like(given))

        def one(t, ids, logits, *states):
            token = tf.cond(reads, lambda: given[t], lambda: sample(logits, noise[t], sampling))
            new_logits, new_states = self._stateless_step(values, token[:, None], states)
            continues = (~reads | (t < lengths))[:, None]
            results = [tf.where(continues, new, old) for new, old in zip(
                (tf.cast(new_logits[:, 0], tf.float32), *new_states), (logits, *states), strict=True)]  # fmt: skip
            return t + 1, ids.write(t, token), *results

        _, ids, *results = tf.while_loop(
            lambda t, *_: t < count, one, (0, ids, logits, *states), maximum_iterations=DECODE_BLOCK
        )
        return tf.transpose(ids.stack()), *results


def _tile_rows(rows):
    """How many rows are written together: few enough that there is a tile for every core, few sizes to compile."""
    return tf.where(rows <= 8, 1, tf.where(rows <= 32, 8, 32))

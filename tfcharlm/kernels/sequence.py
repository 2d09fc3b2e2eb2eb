r"""A recurrence over a whole sequence, with the backward pass written by hand.

One column per row of the batch, one matrix A for all that a step multiplies:

$$ z_t = A^\top [x_t; 1; h_{t-1}], \qquad A = [W; b; U] $$
$$ [\partial x_t; \cdot; \partial h_{t-1}] = A \, \partial z_t, \qquad
   \partial A = \sum_t [x_t; 1; h_{t-1}] \, \partial z_t^\top $$

What makes it fast on a CPU: columns (`docs/architecture.md` has the measurements); one product a step; the products of
the weights' gradient and of the input's gathered over several steps; what a step leaves for the backward pass is kept
as it is, never stacked.
"""

from typing import NamedTuple

import tensorflow as tf

from tfcharlm.kernels.precision import Products
from tfcharlm.kernels.recurrences import Recurrence

# Steps in one turn of a loop: spreads the cost of a turn, and makes the products of the weights' gradient long enough
# (steps * rows of the batch). 4 and 16 were as fast; the graph, and the time to build it, grow with it.
STEPS_PER_TURN = 8


class Sequence(NamedTuple):
    """What the loops over one sequence share.

    Args:
        recurrence: what lies between the products.
        columns: inputs, (T, D, B).
        keep: None, or bool (T, 1, B): False where a column's states stay as they are.
        dtype: of the operands of the products; everything else is float32 at least.
        needs_input_gradient: False for inputs that nothing trainable has made.
    """

    recurrence: Recurrence
    columns: tf.Tensor
    keep: tf.Tensor | None = None
    dtype: tf.DType = tf.float32
    needs_input_gradient: bool = True


class Saved(NamedTuple):
    """What the forward pass leaves for the backward pass: by step, gates and the states before; the last states."""

    gates: tuple[tf.TensorArray, ...]
    before: tuple[tf.TensorArray, ...]
    last: tuple[tf.Tensor, ...]


def run(sequence, matrix, states, save=True):
    """Runs a recurrence over a sequence; differentiable with respect to the matrix, the columns and the states.

    Args:
        sequence: a `Sequence`.
        matrix: A (D + H, G*H): the rows that multiply the input, then those that multiply the state.
        states: tuple of the states before the first step, (H, B) each.
        save: whether to keep what the backward pass needs. If not, a gradient costs another forward pass.

    Returns:
        `(outputs (T, H, B), states)`: the first state after every step, and all states after the last one.
    """

    @tf.custom_gradient
    def differentiable(matrix, columns, *states):
        outputs, last, saved = forward(sequence, matrix, states, save)

        def gradient(d_outputs, *d_last):
            kept = saved if save else forward(sequence, matrix, states, save=True)[2]
            return backward(sequence, matrix, kept, d_outputs, d_last)

        return (tf.transpose(outputs, [2, 0, 1]), *last), gradient

    outputs, *last = differentiable(matrix, sequence.columns, *states)
    return outputs, tuple(last)


def forward(sequence, matrix, states, save):
    """`(outputs (T, H, B), last states, Saved or None)`."""
    recurrence, products = sequence.recurrence, Products(sequence.dtype)
    steps = _length(sequence.columns)
    columns, transposed = products.operand(sequence.columns), products.operand(tf.transpose(matrix))

    def arrays(*multiples):
        units, batch = states[0].shape
        return tuple(
            tf.TensorArray(states[0].dtype, steps, element_shape=(n * units, batch), clear_after_read=False)
            for n in multiples
        )

    def step(t, states, outputs, gates, before):
        z = products(transposed, tf.concat([columns[t], products.operand(states[0])], axis=0))
        after, kept = recurrence.forward(z, states)
        if sequence.keep is not None:
            after = tuple(tf.where(sequence.keep[t], new, old) for new, old in zip(after, states, strict=True))
        if save:
            gates, before = _write(gates, t, kept), _write(before, t, states)
        return after, _write(outputs, t, after[:1]), gates, before

    kept = (arrays(*recurrence.gates), arrays(*[1] * len(states))) if save else ((), ())
    carried = (tuple(states), arrays(1), *kept)
    last, outputs, gates, before = _loop(lambda times, *carried: _each(step, times, carried), steps, carried)
    return outputs[0].stack(), last, Saved(gates, before, last) if save else None


def backward(sequence, matrix, saved, d_outputs, d_last):
    """Gradients of the matrix, of the columns (None if not wanted) and of the states before the first step."""
    recurrence, products = sequence.recurrence, Products(sequence.dtype)
    columns, (inputs, batch) = products.operand(sequence.columns), sequence.columns.shape[1:]
    of_input, of_state = tf.split(products.operand(matrix), [inputs, d_last[0].shape[0]], axis=0)

    def step(t, d_states, after):
        gates, before = _read(saved.gates, t), _read(saved.before, t)
        d_states = (d_states[0] + tf.transpose(d_outputs[:, t]), *d_states[1:])
        d_z, d_before = recurrence.backward(d_states, gates, before, after)
        if sequence.keep is not None:
            d_z = tf.where(sequence.keep[t], d_z, tf.zeros_like(d_z))
        d_z = products.operand(d_z)
        d_before = (products(of_state, d_z), *d_before[1:])
        if sequence.keep is not None:
            d_before = tuple(tf.where(sequence.keep[t], d, old) for d, old in zip(d_before, d_states, strict=True))
        return d_z, d_before, before

    def steps_together(times, d_states, after, d_transposed, d_columns):
        d_z, multiplied = [], []
        for t in times:
            d_z_t, d_states, after = step(t, d_states, after)
            d_z.append(d_z_t)
            multiplied.append(tf.concat([columns[t], products.operand(after[0])], axis=0))
        d_z = tf.concat(d_z, axis=1)
        d_transposed += products(d_z, tf.concat(multiplied, axis=1), transpose_b=True)
        if sequence.needs_input_gradient:
            pieces = tf.split(products(of_input, d_z), len(times), axis=1)
            for t, piece in zip(times, pieces, strict=True):
                d_columns = _write(d_columns, t, (piece,))
        return d_states, after, d_transposed, d_columns

    steps, dtype = _length(sequence.columns), d_last[0].dtype
    d_columns = ()
    if sequence.needs_input_gradient:
        d_columns = (tf.TensorArray(dtype, steps, element_shape=(inputs, batch)),)
    carried = (tuple(d_last), saved.last, tf.zeros_like(tf.transpose(matrix)), d_columns)
    d_states, _, d_transposed, d_columns = _loop(steps_together, steps, carried, backwards=True)
    d_columns = d_columns[0].stack() if d_columns else None
    return tf.transpose(d_transposed), d_columns, *d_states


def _loop(body, steps, carried, backwards=False):
    """`carried = body(times, *carried)` with the times of `STEPS_PER_TURN` steps in every turn; the rest one by one."""
    together = STEPS_PER_TURN if not isinstance(steps, int) else max(1, min(STEPS_PER_TURN, steps))
    parts = [(0, steps // together, together), (steps - steps % together, steps % together, 1)]
    for begin, turns, length in reversed(parts) if backwards else parts:

        def turn(number, *carried, begin=begin, turns=turns, length=length):
            first = begin + (turns - 1 - number if backwards else number) * length
            times = [first + k for k in range(length)]
            return number + 1, *body(times[::-1] if backwards else times, *carried)

        if not isinstance(turns, int) or turns > 0:
            _, *carried = tf.while_loop(
                lambda number, *_, turns=turns: number < turns,
                turn,
                (0, *carried),
                parallel_iterations=1,
                maximum_iterations=turns,
            )
    return carried


def _each(step, times, carried):
    for t in times:
        carried = step(t, *carried)
    return carried


def _length(columns):
    return columns.shape[0] if columns.shape[0] is not None else tf.shape(columns)[0]


def _write(arrays, t, values):
    return tuple(array.write(t, value) for array, value in zip(arrays, values, strict=True))


def _read(arrays, t):
    return tuple(array.read(t) for array in arrays)

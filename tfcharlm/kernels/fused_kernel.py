r"""The fused kernel: a recurrence over a whole sequence, with the backward pass written by hand.

Each row of the batch is a column here. One matrix A holds everything that a step multiplies:

$$ z_t = A^\top [x_t; 1; h_{t-1}], \qquad A = [W; b; U] $$
$$ [\partial x_t; \cdot; \partial h_{t-1}] = A \, \partial z_t, \qquad
   \partial A = \sum_t [x_t; 1; h_{t-1}] \, \partial z_t^\top $$

Four things make it fast on a CPU. The loop works on columns. Products over several steps work on rows. A step has one
matrix product. What a step saves for the backward pass is never stacked. docs/design-notes.md has the measurements.

The part in which an LSTM and an RNN differ, forward and backward, is in `recurrences.py`.
"""

from typing import NamedTuple

import tensorflow as tf

from tfcharlm.kernels.gradients import custom_gradient
from tfcharlm.kernels.precision import MatMul
from tfcharlm.kernels.recurrences import Recurrence

# Steps in one turn of a loop. More steps spread the cost of a turn, and make the products of A's gradient longer (steps
# times rows of the batch). 8 and 16 were not faster. More steps also need more memory and more time to build the graph.
STEPS_PER_TURN = 4


class Sequence(NamedTuple):
    """What the loops over one sequence share.

    Args:
        recurrence: what a step computes between its matrix products.
        inputs: (B, T, D).
        is_real: None, or bool (T, 1, B): False in padding, where the states of a column do not change.
        dtype: of the operands of the products; everything else is float32 at least.
        needs_input_gradient: False for inputs that nothing trainable has made.
    """

    recurrence: Recurrence
    inputs: tf.Tensor
    is_real: tf.Tensor | None = None
    dtype: tf.DType = tf.float32
    needs_input_gradient: bool = True

    @property
    def steps(self) -> int | tf.Tensor:
        """T, as a number where it is known when the graph is built."""
        return self.inputs.shape[1] if self.inputs.shape[1] is not None else tf.shape(self.inputs)[1]


class Saved(NamedTuple):
    """What the forward pass saves for the backward pass.

    Args:
        residuals: for every step, what the recurrence saves for its own backward pass.
        memory: for every step, the states besides h, before the step.
        final_memory: the states besides h after the last step.
        first_h: h before the first step, (H, B).
        outputs: h after every step, (B, T, H).
    """

    residuals: tuple[tf.TensorArray, ...]
    memory: tuple[tf.TensorArray, ...]
    final_memory: tuple[tf.Tensor, ...]
    first_h: tf.Tensor
    outputs: tf.Tensor


def run(
    sequence: Sequence, matrix: tf.Tensor, states: tuple[tf.Tensor, ...], save_for_backward: bool = True
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Runs a recurrence over a sequence; differentiable with respect to the matrix, the inputs and the states.

    `tape.gradient` works, and works repeatedly on a persistent tape. `tape.jacobian` does not: it cannot vectorize the
    loop.

    Args:
        sequence: a `Sequence`.
        matrix: A (D + H, G*H): the rows that multiply the input, then those that multiply the state.
        states: the states before the first step, (H, B) each, h first.
        save_for_backward: whether to keep what the backward pass needs. With False, a gradient repeats the forward
            pass.

    Returns:
        `(outputs (B, T, H), states)`: h after every step, and all states after the last step, (H, B) each.
    """

    def differentiable(matrix, inputs, *states):
        outputs, final_states, saved = forward(sequence, matrix, states, save_for_backward)

        def gradient(*d_results):
            residuals = saved if save_for_backward else forward(sequence, matrix, states, save_for_backward=True)[2]
            # A `tf.gather` of the outputs has a sparse gradient.
            d_outputs, *d_final = map(tf.convert_to_tensor, d_results)
            return backward(sequence, matrix, residuals, d_outputs, d_final)

        return [outputs, *final_states], gradient

    outputs, *final_states = custom_gradient(differentiable, matrix, sequence.inputs, *states)
    return outputs, tuple(final_states)


def forward(
    sequence: Sequence, matrix: tf.Tensor, states: tuple[tf.Tensor, ...], save_for_backward: bool
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], Saved | None]:
    """The forward pass: `(outputs (B, T, H), final states, Saved or None)`."""
    recurrence, matmul, steps = sequence.recurrence, MatMul(sequence.dtype), sequence.steps
    columns = matmul.cast(tf.transpose(sequence.inputs, [1, 2, 0]))
    transposed = matmul.cast(tf.transpose(matrix))

    def arrays(*multiples):
        units, batch = states[0].shape
        return tuple(
            tf.TensorArray(states[0].dtype, steps, element_shape=(n * units, batch), clear_after_read=False)
            for n in multiples
        )

    def step(t, states, outputs, residuals, before):
        h, *memory = states
        z = matmul(transposed, tf.concat([columns[t], matmul.cast(h)], axis=0))
        h, after, step_residuals = recurrence.forward(z, memory)
        if save_for_backward:
            residuals, before = _write(residuals, t, step_residuals), _write(before, t, memory)
        if sequence.is_real is not None:
            after = tuple(tf.where(sequence.is_real[t], new, old) for new, old in zip((h, *after), states, strict=True))
            h, *after = after
        return (h, *after), _write(outputs, t, (h,)), residuals, before

    def several(times, *carried):
        for t in times:
            carried = step(t, *carried)
        return carried

    saved_arrays = (
        (arrays(*recurrence.residual_blocks), arrays(*[1] * recurrence.memory)) if save_for_backward else ((), ())
    )
    final_states, outputs, residuals, memory = _loop(several, steps, (tuple(states), arrays(1), *saved_arrays))
    outputs = tf.transpose(outputs[0].stack(), [2, 0, 1])
    return (
        outputs,
        final_states,
        Saved(residuals, memory, final_states[1:], states[0], outputs) if save_for_backward else None,
    )


def backward(
    sequence: Sequence, matrix: tf.Tensor, saved: Saved, d_outputs: tf.Tensor, d_final: list[tf.Tensor]
) -> tuple[tf.Tensor | None, ...]:
    """The backward pass: gradients of the matrix, of the inputs (None if not needed) and of the first states."""
    recurrence, matmul, steps = sequence.recurrence, MatMul(sequence.dtype), sequence.steps
    width, (units, batch) = sequence.inputs.shape[2], saved.first_h.shape
    of_input, of_state = tf.split(matmul.cast(matrix), [width, units], axis=0)
    first_row = tf.transpose(saved.first_h)

    def step(t, d_states, after):
        d_h, d_memory = d_states[0] + tf.transpose(d_outputs[:, t]), d_states[1:]
        residuals, before = _read(saved.residuals, t), _read(saved.memory, t)
        d_z, d_before = recurrence.backward(d_h, d_memory, residuals, before, after)
        if sequence.is_real is not None:
            d_z = tf.where(sequence.is_real[t], d_z, tf.zeros_like(d_z))
        d_z = matmul.cast(d_z)
        d_before = (matmul(of_state, d_z), *d_before)
        if sequence.is_real is not None:
            passed = zip(d_before, (d_h, *d_memory), strict=True)
            d_before = tuple(tf.where(sequence.is_real[t], new, old) for new, old in passed)
        return d_z, d_before, before

    def rows_before(times):
        """`[x_t; h_{t-1}]` of these steps as rows (steps * B, D + H), in the order of the columns of d_z."""
        earlier = tf.where(times[0] > 0, saved.outputs[:, tf.maximum(times[0] - 1, 0)], first_row)
        h = [earlier] + [saved.outputs[:, t] for t in times[:-1]]
        x = [sequence.inputs[:, t] for t in times]
        return matmul.cast(tf.concat([tf.concat(x, axis=0), tf.concat(h, axis=0)], axis=1))

    def several(times, d_states, after, d_matrix, d_inputs):
        d_z = []
        for t in reversed(times):
            d_z_t, d_states, after = step(t, d_states, after)
            d_z.insert(0, d_z_t)
        d_z = tf.concat(d_z, axis=1)
        d_matrix += matmul(rows_before(times), d_z, transpose_a=True, transpose_b=True)
        if sequence.needs_input_gradient:
            pieces = tf.split(matmul(of_input, d_z), len(times), axis=1)
            for t, piece in zip(times, pieces, strict=True):
                d_inputs = _write(d_inputs, t, (piece,))
        return d_states, after, d_matrix, d_inputs

    d_inputs: tuple[tf.TensorArray, ...] = ()
    if sequence.needs_input_gradient:
        d_inputs = (tf.TensorArray(d_outputs.dtype, steps, element_shape=(width, batch)),)
    carried = (tuple(d_final), saved.final_memory, tf.zeros_like(matrix), d_inputs)
    d_states, _, d_matrix, d_inputs = _loop(several, steps, carried, backwards=True)
    return d_matrix, tf.transpose(d_inputs[0].stack(), [2, 0, 1]) if d_inputs else None, *d_states


def _loop(body, steps, carried, backwards=False):
    """Calls `carried = body(times, *carried)` for `STEPS_PER_TURN` steps at a time, and one by one for the rest."""
    together = STEPS_PER_TURN if not isinstance(steps, int) else max(1, min(STEPS_PER_TURN, steps))
    parts = [(0, steps // together, together), (steps - steps % together, steps % together, 1)]
    for begin, turns, length in reversed(parts) if backwards else parts:

        def turn(number, *carried, begin=begin, turns=turns, length=length):
            first = begin + (turns - 1 - number if backwards else number) * length
            return number + 1, *body([first + k for k in range(length)], *carried)

        if not isinstance(turns, int) or turns > 0:
            _, *carried = tf.while_loop(
                lambda number, *_, turns=turns: number < turns,
                turn,
                (0, *carried),
                parallel_iterations=1,
                maximum_iterations=turns,
            )
    return carried


def _write(arrays, t, values):
    return tuple(array.write(t, value) for array, value in zip(arrays, values, strict=True))


def _read(arrays, t):
    return tuple(array.read(t) for array in arrays)

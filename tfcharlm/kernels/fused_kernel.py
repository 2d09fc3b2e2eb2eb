r"""The fused kernel: a recurrence over a whole sequence, forward and backward.

Each row of the batch is a column here. One matrix A holds everything that a step multiplies, or two if the recurrence
is separate:

$$ z_t = A^\top [x_t; 1; h_{t-1}], \qquad A = [W; b; U] $$
$$ [\partial x_t; \cdot; \partial h_{t-1}] = A \, \partial z_t, \qquad
   \partial A = \sum_t [x_t; 1; h_{t-1}] \, \partial z_t^\top $$

Four things make it fast on a CPU. The loop works on columns. Products over several steps work on rows. A step has one
matrix product. What a step saves for the backward pass is never stacked. docs/design-notes.md has the measurements.

What a step computes between its products is a `Recurrence`: see `recurrences.py`.
"""

from typing import Any

import tensorflow as tf

from tfcharlm.kernels.gradients import custom_gradient
from tfcharlm.kernels.operands import Operands, Saved, Sequence
from tfcharlm.kernels.precision import MatMul

# Steps in one turn of a loop. More steps spread the cost of a turn, and make the products of A's gradient longer (steps
# times rows of the batch). 8 and 16 were not faster. More steps also need more memory and more time to build the graph.
STEPS_PER_TURN = 4


def run(
    sequence: Sequence, operands: Operands, save_for_backward: bool = True
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Runs a recurrence over a sequence; differentiable with respect to the inputs and the operands.

    `tape.gradient` works, and works repeatedly on a persistent tape. `tape.jacobian` does not: it cannot vectorize the
    loop.

    Args:
        sequence: a `Sequence`.
        operands: its `Operands`.
        save_for_backward: whether to keep what the backward pass needs. With False, a gradient repeats the forward
            pass.

    Returns:
        `(outputs (B, T, H), states)`: h after every step, and all states after the last step, (size, B) each.
    """

    count, rest = len(operands.matrices), (operands.states, operands.parameters)

    def differentiable(*tensors):
        operands_here = Operands(tensors[:count], *tf.nest.pack_sequence_as(rest, tensors[count + 1 :]))
        outputs, final_states, saved = forward(sequence, operands_here, save_for_backward)

        def gradient(*d_results):
            kept = saved if save_for_backward else forward(sequence, operands_here, save_for_backward=True)[2]
            # A `tf.gather` of the outputs has a sparse gradient.
            d_outputs, *d_final = map(tf.convert_to_tensor, d_results)
            d_inputs, (d_matrices, *d_rest) = backward(sequence, operands_here, kept, d_outputs, d_final)
            return *d_matrices, d_inputs, *tf.nest.flatten(d_rest)

        return [outputs, *final_states], gradient

    tensors = *operands.matrices, sequence.inputs, *tf.nest.flatten(rest)
    outputs, *final_states = custom_gradient(differentiable, *tensors)
    return outputs, tuple(final_states)


def forward(
    sequence: Sequence, operands: Operands, save_for_backward: bool
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...], Any]:
    """The forward pass: `(outputs (B, T, H), final states, Saved or None)`."""
    recurrence, matmul, steps = sequence.recurrence, MatMul(sequence.dtype), sequence.steps
    columns = matmul.cast(tf.transpose(sequence.inputs, [1, 2, 0]))
    transposed = [matmul.cast(tf.transpose(matrix)) for matrix in operands.matrices]
    state_sizes, batch = [state.shape[0] for state in operands.states], operands.states[0].shape[1]

    def arrays(sizes):
        dtype = operands.states[0].dtype
        return tuple(
            tf.TensorArray(dtype, steps, element_shape=(size, batch), clear_after_read=False) for size in sizes
        )

    def pre_activations(t, h):
        h = matmul.cast(h)
        if not recurrence.separate:
            return (matmul(transposed[0], tf.concat([columns[t], h], axis=0)),)
        of_input, of_state = transposed
        if of_state.shape[1] > h.shape[0]:
            h = tf.concat([h, tf.ones_like(h[:1])], axis=0)
        return matmul(of_input, columns[t]), matmul(of_state, h)

    def step(t, states, outputs, residuals):
        z = pre_activations(t, states[0])
        after, step_residuals = recurrence.forward(z, states, operands.parameters)
        if save_for_backward:
            residuals = _write(residuals, t, step_residuals)
        if sequence.is_real is not None:
            after = tuple(tf.where(sequence.is_real[t], new, old) for new, old in zip(after, states, strict=True))
        return after, _write(outputs, t, after[:1]), residuals

    def several(times, *carried):
        for t in times:
            carried = step(t, *carried)
        return carried

    units = operands.matrices[0].shape[1] // recurrence.num_blocks
    residuals = arrays(recurrence.residual_sizes(units, state_sizes)) if save_for_backward else ()
    final_states, outputs, residuals = _loop(several, steps, (operands.states, arrays(state_sizes[:1]), residuals))
    outputs = tf.transpose(outputs[0].stack(), [2, 0, 1])
    return outputs, final_states, Saved(residuals, outputs) if save_for_backward else None


def backward(
    sequence: Sequence, operands: Operands, saved: Saved, d_outputs: tf.Tensor, d_final: list[tf.Tensor]
) -> tuple[tf.Tensor | None, Operands]:
    """The backward pass: gradients of the inputs (None if not needed) and of the operands."""
    recurrence, matmul, steps = sequence.recurrence, MatMul(sequence.dtype), sequence.steps
    width, (units, batch) = sequence.inputs.shape[2], operands.states[0].shape
    matrices = [matmul.cast(matrix) for matrix in operands.matrices]
    of_input, of_state = matrices if recurrence.separate else tf.split(matrices[0], [width, units], axis=0)
    has_state_bias = of_state.shape[0] > units
    of_state = of_state[:units] if has_state_bias else of_state
    first_row = tf.transpose(operands.states[0])

    def step(t, d_states, d_parameters):
        d_states = (d_states[0] + tf.transpose(d_outputs[:, t]), *d_states[1:])
        d_real = d_states
        if sequence.is_real is not None and operands.parameters:
            d_real = tuple(tf.where(sequence.is_real[t], d, tf.zeros_like(d)) for d in d_states)
        d_z, d_before, d_more = recurrence.backward(d_real, _read(saved.residuals, t), operands.parameters)
        if sequence.is_real is not None:
            d_z = tuple(tf.where(sequence.is_real[t], d, tf.zeros_like(d)) for d in d_z)
        d_z = tuple(map(matmul.cast, d_z))
        through_z = (matmul(of_state, d_z[-1]), *[None] * (len(d_states) - 1))
        d_before = tuple(map(_sum, through_z, d_before, d_states))
        if sequence.is_real is not None:
            passed = zip(d_before, d_states, strict=True)
            d_before = tuple(tf.where(sequence.is_real[t], new, old) for new, old in passed)
        d_parameters = {name: _sum(total, d_more[name], total) for name, total in d_parameters.items()}
        return d_z, d_before, d_parameters

    def rows_before(times):
        """`[x_t; h_{t-1}]` of these steps as rows (steps * B, D + H), in the order of the columns of d_z."""
        earlier = tf.where(times[0] > 0, saved.outputs[:, tf.maximum(times[0] - 1, 0)], first_row)
        h = tf.concat([earlier] + [saved.outputs[:, t] for t in times[:-1]], axis=0)
        x = tf.concat([sequence.inputs[:, t] for t in times], axis=0)
        if not recurrence.separate:
            return (matmul.cast(tf.concat([x, h], axis=1)),)
        if has_state_bias:
            h = tf.concat([h, tf.ones_like(h[:, :1])], axis=1)
        return matmul.cast(x), matmul.cast(h)

    def several(times, d_states, d_matrices, d_parameters, d_inputs):
        by_step = []
        for t in reversed(times):
            d_z_t, d_states, d_parameters = step(t, d_states, d_parameters)
            by_step.insert(0, d_z_t)
        d_z = [tf.concat(parts, axis=1) for parts in zip(*by_step, strict=True)]
        d_matrices = tuple(
            total + matmul(rows, part, transpose_a=True, transpose_b=True)
            for total, rows, part in zip(d_matrices, rows_before(times), d_z, strict=True)
        )
        if sequence.needs_input_gradient:
            pieces = tf.split(matmul(of_input, d_z[0]), len(times), axis=1)
            for t, piece in zip(times, pieces, strict=True):
                d_inputs = _write(d_inputs, t, (piece,))
        return d_states, d_matrices, d_parameters, d_inputs

    d_inputs: tuple[tf.TensorArray, ...] = ()
    if sequence.needs_input_gradient:
        d_inputs = (tf.TensorArray(d_outputs.dtype, steps, element_shape=(width, batch)),)
    zeros = tf.nest.map_structure(tf.zeros_like, (operands.matrices, dict(operands.parameters)))
    d_states, d_matrices, d_parameters, d_inputs = _loop(
        several, steps, (tuple(d_final), *zeros, d_inputs), backwards=True
    )
    d_operands = Operands(d_matrices, d_states, d_parameters)
    return tf.transpose(d_inputs[0].stack(), [2, 0, 1]) if d_inputs else None, d_operands


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


def _sum(a, b, like):
    """a + b, of which each may be None."""
    known = [d for d in (a, b) if d is not None]
    return tf.zeros_like(like) if not known else sum(known[1:], known[0])


def _write(arrays, t, values):
    return tuple(array.write(t, value) for array, value in zip(arrays, values, strict=True))


def _read(arrays, t):
    return tuple(array.read(t) for array in arrays)

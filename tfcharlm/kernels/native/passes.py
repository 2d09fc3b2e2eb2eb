"""The two passes of the native kernels as one differentiable function, with the arguments of the pure kernels."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfcharlm.kernels.gradients import custom_gradient
from tfcharlm.kernels.native.gru_bias import in_four_blocks, in_two_rows
from tfcharlm.kernels.native.library import library

# The numbers of `enum cell` in recurrence.h.
CELLS = {"rnn": 0, "lstm": 1, "capped_lstm": 2, "gru": 3}


def run(
    cell: str,
    weights: tuple[tf.Tensor, tf.Tensor, tf.Tensor | None],
    inputs: tf.Tensor,
    states: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    save_for_backward: bool,
    pure: Callable,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Runs a recurrence over a batch of sequences in one operation.

    Args:
        cell: one of `CELLS`.
        weights: `(kernel (D, G*H), recurrent_kernel (H, G*H), bias (G*H,) or None)`, float32. G is 3 for a GRU,
            whose bias is (2, 3*H).
        inputs: float32 (B, T, D), or int32 (B, T): rows of the kernel.
        states: the states before the first step, float32 (B, H) each, h first.
        mask: None, or bool (B, T); the states do not change where it is False.
        save_for_backward: whether to keep what a gradient needs.
        pure: `pure(weights, inputs, states) -> (outputs, states)`, the same in TensorFlow. Gradients of gradients are
            taken from it.

    Returns:
        `(outputs (B, T, H), states)`: h after each step, and the states after the last step.
    """
    kernel, recurrent_kernel, bias = weights
    if cell == "gru" and bias is not None:
        bias, pure = in_four_blocks(bias), _with_two_rows(pure)
    differentiable = [kernel, recurrent_kernel, *([] if bias is None else [bias]), *states]
    if inputs.dtype.is_floating:
        differentiable.append(inputs)
    passes = _Passes(cell, bias is not None, inputs, len(states), mask, pure)

    def forward(*tensors):
        outputs, final_states, saved = passes.forward(tensors, save_for_backward)

        def gradient(d_outputs, *d_final_states):
            saved_values = saved if save_for_backward else passes.forward(tensors, True)[2]
            d_results = tf.convert_to_tensor(d_outputs), *map(tf.convert_to_tensor, d_final_states)
            return passes.gradients(tensors, outputs, saved_values, d_results)

        return [outputs, *final_states], gradient

    outputs, *final_states = custom_gradient(forward, *differentiable)
    return outputs, tuple(final_states)


def _with_two_rows(pure):
    def with_four_blocks(weights, inputs, states):
        kernel, recurrent_kernel, bias = weights
        return pure((kernel, recurrent_kernel, in_two_rows(bias)), inputs, states)

    return with_four_blocks


class _Passes:
    """Both operations. `tensors` is `(kernel, recurrent_kernel, bias if there is one, *states, inputs unless ids)`."""

    def __init__(self, cell, has_bias, inputs, state_count, mask, pure):
        self._cell, self._has_bias, self._state_count, self._pure = CELLS[cell], has_bias, state_count, pure
        self._ids = None if inputs.dtype.is_floating else inputs
        self._mask = tf.zeros((0, 0), tf.bool) if mask is None else mask

    def forward(self, tensors, save_for_backward):
        sequence, states = self._arguments(tensors)
        outputs, final_states, saved = library().operations.tfcharlm_recurrence(
            **sequence, initial_states=states, cell=self._cell, save_for_backward=save_for_backward
        )
        outputs.set_shape((*sequence["inputs"].shape[:2], states[0].shape[1]))
        for after, before in zip(final_states, states, strict=True):
            after.set_shape(before.shape)
        return outputs, final_states, saved

    def gradients(self, tensors, outputs, saved, d_results):
        """The gradients of `tensors`, differentiable themselves."""

        def first_order(*arguments):
            tensors, d_results = arguments[: -1 - self._state_count], arguments[-1 - self._state_count :]
            return self._backward(tensors, outputs, saved, d_results), lambda *d: self._second_order(arguments, d)

        return custom_gradient(first_order, *tensors, *d_results)

    def _backward(self, tensors, outputs, saved, d_results):
        sequence, states = self._arguments(tensors)
        d_kernel, d_recurrent_kernel, d_bias, d_inputs, d_states = library().operations.tfcharlm_recurrence_gradient(
            **sequence,
            outputs=outputs,
            saved=saved,
            d_outputs=d_results[0],
            initial_states=states,
            d_final_states=d_results[1:],
            cell=self._cell,
        )
        gradients = [d_kernel, d_recurrent_kernel, *([d_bias] if self._has_bias else []), *d_states]
        if self._ids is None:
            gradients.append(d_inputs)
        for gradient, tensor in zip(gradients, tensors, strict=True):
            gradient.set_shape(tensor.shape)
        return gradients

    def _second_order(self, arguments, d_gradients):
        """Gradients of the gradients, from the pure kernel: training does not need them."""
        tensors, d_results = arguments[: -1 - self._state_count], arguments[-1 - self._state_count :]
        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                outputs, states = self._pure_results(tensors)
            gradients = inner.gradient([outputs, *states], tensors, d_results)
        return outer.gradient(gradients, arguments, d_gradients, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _pure_results(self, tensors):
        sequence, states = self._arguments(tensors)
        bias = sequence["bias"] if self._has_bias else None
        weights = sequence["kernel"], sequence["recurrent_kernel"], bias
        return self._pure(weights, sequence["inputs"], states)

    def _arguments(self, tensors):
        """The arguments that both operations have, and the initial states."""
        tensors = list(tensors)
        inputs = self._ids if self._ids is not None else tensors.pop()
        states = [tensors.pop() for _ in range(self._state_count)][::-1]
        kernel, recurrent_kernel, *bias = tensors
        sequence = {
            "kernel": kernel,
            "recurrent_kernel": recurrent_kernel,
            "bias": bias[0] if bias else tf.zeros((0,)),
            "inputs": inputs,
            "is_real": self._mask,
        }
        return sequence, states

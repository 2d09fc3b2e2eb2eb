"""A recurrence: what a cell computes between its matrix products, as one function of one step.

All tensors in this file are columns: (units, B), one column for each row of the batch. The rows of each block then lie
together in memory, and splitting the blocks copies nothing.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

# The pre-activations of a step, (G*H, B): their sum, or the part of the input and the part of the state.
PreActivations = tuple[tf.Tensor, ...]


class Blocks(list[tf.Tensor]):
    """The blocks of a step's pre-activations, and all of them as one tensor.

    Args:
        stacked: the blocks one after the other along `axis`.
        count: how many there are.
        axis: 0 for columns, -1 for rows.

    Attributes:
        stacked: as given. A step that treats all blocks alike, as layer normalization does, is faster with it than with
            `tf.concat(blocks, axis=0)`, which copies.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels.recurrences import Blocks
    >>> blocks = Blocks(tf.reshape(tf.range(6), (6, 1)), count=2, axis=0)
    >>> blocks[1].numpy().ravel().tolist(), blocks.stacked.shape
    ([3, 4, 5], TensorShape([6, 1]))
    """

    def __init__(self, stacked: tf.Tensor, count: int, axis: int) -> None:
        super().__init__(tf.split(stacked, count, axis=axis) if count > 1 else [stacked])
        self.stacked = stacked


class StepGradient(NamedTuple):
    """One step and its gradient, written by hand. It saves less than automatic differentiation does.

    Args:
        residual_blocks: the number of rows of each tensor in `residuals`, in multiples of H.
        forward: `forward(z, states, parameters) -> (next_states, residuals)`, tuples of tensors. z has one tensor
            (G*H, B), or two if the recurrence is separate. `residuals` is all that `backward` gets of the step.
        backward: `backward(d_next_states, residuals, parameters) -> (d_z, d_states, d_parameters)`. d_z has as many
            tensors as z, and `d_parameters` has the names of the parameters. A state that the step uses in z only has
            None.
    """

    residual_blocks: tuple[int, ...]
    forward: Callable[..., tuple]
    backward: Callable[..., tuple]


@dataclasses.dataclass(frozen=True)
class Recurrence:
    r"""A cell without its weights.

    H is the number of units, B the size of the batch. The pre-activations come in blocks (H, B), columns of the weight
    matrices W and U:

    $$ z = x_t W + b + h_{t-1} U $$

    Args:
        step: `step(z, states, parameters) -> {name: tensor}`, one step. z is a list of blocks, and `z.stacked` is all
            of them in one tensor. `states` and `parameters` are dicts by name; a vector of parameters is a column
            (n, 1). The result has the next states, and whatever else a plot may want to show, such as gates.
        num_blocks: the number of blocks of W; 1 by default.
        state_names: of the states; h by default. The first one is the output, and U multiplies it.
        separate: whether `step` gets a pair of lists of blocks, those of x_t W + b and those of h_{t-1} U, instead of
            their sums. False by default: one product is faster than two.
        num_recurrent_blocks: the number of blocks of U; None (default) for as many as W has. Another number needs
            `separate`.
        elementwise: whether `step` is a function of one unit and one row, so that it works with rows (B, H), too. False
            by default. One step alone, as in sampling, then needs no transposition.
        gradient: a `StepGradient`. None (default) differentiates `step` automatically.
        native: the native kernel that computes the same, one of `tfcharlm.kernels.native.CELLS`; None (default) if
            there is none.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import Recurrence, run_recurrence
    >>> def step(z, states, parameters):                        # a leaky integrator
    ...     return {"h": 0.5 * states["h"] + 0.5 * tf.tanh(z[0])}
    >>> weights = tf.zeros((3, 5)), tf.zeros((5, 5))
    >>> outputs, _ = run_recurrence(Recurrence(step), weights, tf.ones((2, 7, 3)), [tf.ones((2, 5))])
    >>> outputs[0, :3, 0].numpy().tolist()
    [0.5, 0.25, 0.125]
    """

    step: Callable[..., Mapping[str, tf.Tensor]]
    num_blocks: int = 1
    state_names: tuple[str, ...] = ("h",)
    separate: bool = False
    num_recurrent_blocks: int | None = None
    elementwise: bool = False
    gradient: StepGradient | None = None
    native: str | None = None

    @property
    def block_counts(self) -> tuple[int, ...]:
        """The number of blocks in each tensor of z: one tensor, or two if the recurrence is separate."""
        if not self.separate:
            return (self.num_blocks,)
        return self.num_blocks, self.num_recurrent_blocks or self.num_blocks

    def residual_sizes(self, units: int, state_sizes: Sequence[int]) -> list[int]:
        """The number of rows of each tensor that `forward` saves for `backward`."""
        if self.gradient:
            return [blocks * units for blocks in self.gradient.residual_blocks]
        return [blocks * units for blocks in self.block_counts] + list(state_sizes)

    def values(
        self, z: PreActivations, states: Sequence[tf.Tensor], parameters: Mapping[str, tf.Tensor], axis: int = 0
    ) -> dict[str, tf.Tensor]:
        """What `step` computes, after a check that it has all states, each of the right shape.

        The blocks lie along `axis`: 0 for columns, -1 for rows.
        """
        parts = [Blocks(part, count, axis) for part, count in zip(z, self.block_counts, strict=True)]
        old = dict(zip(self.state_names, states, strict=True))
        values: Any = self.step(parts if self.separate else parts[0], old, parameters)
        if not isinstance(values, Mapping) or not set(self.state_names) <= set(values):
            received = list(values) if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(
                f"step must return a dict with the states {list(self.state_names)}; it returned {received}."
            )
        for name, state in old.items():
            if not state.shape.is_compatible_with(values[name].shape):
                raise ValueError(
                    f"step must return {name} in the shape {tuple(state.shape)} that it had before; "
                    f"it returned {tuple(values[name].shape)}."
                )
        return dict(values)

    def forward(
        self, z: PreActivations, states: tuple[tf.Tensor, ...], parameters: Mapping[str, tf.Tensor]
    ) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
        """`(next states, residuals)` of one step."""
        if self.gradient:
            return self.gradient.forward(z, states, parameters)
        return self._next_states(z, states, parameters), (*z, *states)

    def backward(
        self,
        d_next_states: tuple[tf.Tensor, ...],
        residuals: tuple[tf.Tensor, ...],
        parameters: Mapping[str, tf.Tensor],
    ) -> tuple[PreActivations, tuple[tf.Tensor, ...], Mapping[str, tf.Tensor]]:
        """The gradients of z, of the states before the step, and of the parameters; None where there is none."""
        if self.gradient:
            return self.gradient.backward(d_next_states, residuals, parameters)
        z, states = residuals[: len(self.block_counts)], residuals[len(self.block_counts) :]
        parameters = dict(parameters)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch((z, states, parameters))
            next_states = self._next_states(z, states, parameters)
        gradients = tape.gradient(next_states, (z, states, parameters), output_gradients=d_next_states)
        # The gradient of a `tf.gather` is sparse.
        d_z, d_states, d_parameters = tf.nest.map_structure(_dense, gradients)
        d_z = tuple(tf.zeros_like(part) if d is None else d for part, d in zip(z, d_z, strict=True))
        return d_z, d_states, d_parameters

    def _next_states(self, z, states, parameters):
        values = self.values(z, states, parameters)
        return tuple(values[name] for name in self.state_names)


def _dense(gradient):
    return None if gradient is None else tf.convert_to_tensor(gradient)

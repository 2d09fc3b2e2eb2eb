"""Steps with a number that is not finite: found in the graph before they change anything, and noted for Python."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from tfcharlm.kernels import at_least_float32


class Notes(NamedTuple):
    """What happened in the steps of a run. Within a graph, all fields are float64 scalars.

    Args:
        steps: how many there were.
        skipped: how many of them were skipped.
        in_a_row: how many were skipped since the last good one.
        number: the number of the last skipped step.
        found: the name of what was not finite in that step; None if no step was skipped.
        loss: the loss of that step.
    """

    steps: int
    skipped: int
    in_a_row: int
    number: int
    found: str | None
    loss: float


class NonFiniteMonitor:
    """Decides in the graph whether a training step is applied. Its notes are one variable, which Python reads later.

    Keras does not track this object, so the notes are not part of the saved weights.

    Example:

    >>> import numpy as np
    >>> import tensorflow as tf
    >>> from tfcharlm.model.nonfinite import NonFiniteMonitor, not_squarable
    >>> monitor, weight = NonFiniteMonitor(), tf.Variable(5.0)
    >>> for loss, gradient in (3.5, 1.0), (2.5, np.inf):
    ...     flags = not_squarable([tf.constant(gradient)])
    ...     monitor.apply_unless(flags, ["the gradient"], tf.constant(loss), lambda: weight.assign_sub(gradient))
    >>> float(weight), monitor.read()
    (4.0, Notes(steps=2, skipped=1, in_a_row=1, number=2, found='the gradient', loss=2.5))
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        # All replicas write the same notes.
        alike = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._notes = tf.Variable(tf.zeros(len(Notes._fields), tf.float64), trainable=False, aggregation=alike)

    def start(self, steps: int, in_a_row: int) -> None:
        """Starts to count after `steps` steps, the last `in_a_row` of which were skipped."""
        self._notes.assign([steps, 0, in_a_row, 0, 0, 0])

    def read(self) -> Notes:
        """The notes so far."""
        *counts, loss = self._notes.numpy().tolist()
        steps, skipped, in_a_row, number, found = map(int, counts)
        return Notes(steps, skipped, in_a_row, number, self._names[found] if skipped else None, loss)

    def apply_unless(
        self, nonfinite_flags: tf.Tensor, names: Iterable[str], loss: tf.Tensor, update: Callable[[], object]
    ) -> None:
        """Calls `update()`, unless a flag is true; then the name of that flag and the loss are noted instead.

        Args:
            nonfinite_flags: bool (n,).
            names: n names of what the flags mean.
            loss: of the step, a scalar.
            update: a function without arguments; it is traced.
        """
        self._names = tuple(names)
        notes = Notes(*tf.unstack(self._notes.read_value()))
        steps = notes.steps + 1

        def apply():
            update()
            return tf.stack(notes._replace(steps=steps, in_a_row=0.0))

        def skip():
            found, at = tf.cast(tf.argmax(nonfinite_flags), tf.float64), tf.cast(loss, tf.float64)
            return tf.stack([steps, notes.skipped + 1, notes.in_a_row + 1, steps, found, at])

        self._notes.assign(tf.cond(tf.reduce_any(nonfinite_flags), skip, apply))


def checked_variables(model: keras.Model) -> dict[str, keras.Variable | tf.Tensor]:
    """What a training step starts from, apart from the batch: `{name: floating-point variable or tensor}`."""
    weights = {f"the weight {v.path}": v for v in model.variables}
    # On its own, because the learning rate of a schedule is not a variable.
    rate = {"the learning rate": tf.convert_to_tensor(model.optimizer.learning_rate)}
    slots = {f"the optimizer's {v.name}": v for v in model.optimizer.variables}
    named = weights | rate | slots
    return {name: v for name, v in named.items() if tf.as_dtype(v.dtype).is_floating}


def nonfinite_groups(groups: Iterable[Sequence]) -> tf.Tensor:
    """Which of n groups of tensors hold NaN or infinity: bool (n,)."""
    # A sum reads once and writes nothing, and it is not finite if one of its terms is not.
    sums = [sum(tf.reduce_sum(at_least_float32(tf.convert_to_tensor(tensor))) for tensor in group) for group in groups]
    return ~tf.math.is_finite(tf.stack([tf.cast(total, tf.float64) for total in sums]))


def not_squarable(gradients: Iterable[tf.Tensor]) -> tf.Tensor:
    """Which of n gradients have no finite sum of squares, together with those before them: bool (n,).

    Clipping by the norm would turn all of them into NaN, and Adam would keep an infinite second moment forever.
    """
    return ~tf.math.is_finite(
        tf.cumsum(tf.stack([2 * tf.nn.l2_loss(at_least_float32(gradient)) for gradient in gradients]))
    )

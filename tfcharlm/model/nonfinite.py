"""Steps with a number that is not finite: found in the graph before they change anything, and noted down for Python."""

import collections

import tensorflow as tf

from tfcharlm.kernels import at_least_float32

# Of the steps of a run: how many, how many were skipped, how many of those at the end without a good one; of the last
# one skipped: its number, what was found, its loss.
Notes = collections.namedtuple("Notes", "steps skipped in_a_row number found loss")


class NonFiniteMonitor:
    """Lets a step of training happen or not, and keeps notes in one variable, which Python reads after the step.

    Keras does not track this object, so the notes are no part of the saved weights.

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

    def __init__(self):
        self._names = ()
        # All replicas come to the same.
        alike = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._notes = tf.Variable(tf.zeros(len(Notes._fields), tf.float64), trainable=False, aggregation=alike)

    def start(self, steps, in_a_row):
        """Starts counting after so many steps, the last of which were skipped."""
        self._notes.assign([steps, 0, in_a_row, 0, 0, 0])

    def read(self):
        """The `Notes`; nothing is found if no step was skipped."""
        *counts, loss = self._notes.numpy().tolist()
        notes = Notes(*map(int, counts), loss)
        return notes._replace(found=self._names[notes.found] if notes.skipped else None)

    def apply_unless(self, nonfinite_flags, names, loss, update):
        """Calls `update()` unless one of `nonfinite_flags`, bool (n,), is true; then its name and the loss are noted down."""
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


def checked_variables(model):
    """What a step of a model starts from, apart from the batch: `{name: floating-point variable or tensor}`."""
    weights = {f"the weight {v.path}": v for v in model.variables}
    # By itself, because that of a schedule is no variable.
    rate = {"the learning rate": tf.convert_to_tensor(model.optimizer.learning_rate)}
    slots = {f"the optimizer's {v.name}": v for v in model.optimizer.variables}
    named = weights | rate | slots
    return {name: v for name, v in named.items() if tf.as_dtype(v.dtype).is_floating}


def nonfinite_groups(groups):
    """Which of some lists of tensors hold NaN or an infinity: bool (n,)."""
    # A sum reads once and writes nothing, and is not finite if a part is not.
    sums = [sum(tf.reduce_sum(at_least_float32(tf.convert_to_tensor(tensor))) for tensor in group) for group in groups]
    return ~tf.math.is_finite(tf.stack([tf.cast(total, tf.float64) for total in sums]))


def not_squarable(gradients):
    """Which gradients have no finite sum of squares, together with those before them: bool (n,).

    Clipping by the norm would make NaN of them all, and Adam would keep an infinite second moment for ever.
    """
    return ~tf.math.is_finite(
        tf.cumsum(tf.stack([2 * tf.nn.l2_loss(at_least_float32(gradient)) for gradient in gradients]))
    )

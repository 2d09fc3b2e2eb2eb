"""The Keras callback that tells of steps skipped because a number was not finite, and ends training if they repeat."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from tfcharlm.checks import POSITIVE_INTEGER


class NonFiniteError(ArithmeticError):
    """Training cannot continue: a number of the last step is not finite. Nothing of that step was kept.

    Example:

    >>> import numpy as np
    >>> import tensorflow as tf
    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc"), [tfcharlm.RNNCell(5)])
    >>> model.compile()
    >>> batch = {"tokens": np.array([[0, 2]])}, np.array([[2, 1]]), np.array([[1.0, np.nan]])
    >>> try:
    ...     model.fit(tf.data.Dataset.from_tensors(batch), verbose=0, callbacks=[tfcharlm.Guard("stop")])
    ... except tfcharlm.NonFiniteError as error:
    ...     print(str(error).split(".")[0])
    step 1: the loss is not finite (loss nan)
    """


class Guard(keras.callbacks.Callback):
    """Tells which training steps were skipped because a number was not finite, and ends training if they repeat.

    A `CharLM` skips a step if its loss, a gradient, a weight, a variable of the optimizer or a state to be carried is
    NaN or infinite. Nothing of such a step is kept: no weight, no variable of the optimizer, no carried state and no
    metric changes. This callback tells of it; `CharLM.fit` adds a `Guard()` if it is given none. An optimizer that
    scales the loss (mixed_float16) skips steps with overflowing gradients itself; those are not reported.

    Args:
        action: "skip" (default) continues with the next batch, because a single bad batch does no harm; "stop" ends the
            training at the first skipped step.
        limit: how many steps in a row may be skipped; the last of them ends the training. 10 by default, because a
            training that has diverged stays so.
        on_skip: called with one line for each skipped step; by default it is a warning. With `steps_per_execution`,
            only the last skipped step of each execution is told.

    Raises:
        ValueError: `action` is unknown, or `limit` is below 1.

    `fit` raises a `NonFiniteError` that names the step and the tensor. The model then has the weights of the last good
    step.

    Example:

    >>> import numpy as np
    >>> import tensorflow as tf
    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc"), [tfcharlm.RNNCell(5)])
    >>> model.compile()
    >>> batch = {"tokens": np.array([[0, 2]])}, np.array([[2, 1]]), np.array([[1.0, np.nan]])
    >>> data, guard = tf.data.Dataset.from_tensors(batch), tfcharlm.Guard(on_skip=print)
    >>> history = model.fit(data, verbose=0, callbacks=[guard])
    step 1 skipped: the loss is not finite (loss nan)
    """

    def __init__(self, action: str = "skip", limit: int = 10, on_skip: Callable[[str], object] = warnings.warn) -> None:
        super().__init__()
        if action not in ("skip", "stop"):
            raise ValueError(f'action must be "skip" or "stop"; received {action!r}.')
        self.action, self.limit, self.on_skip = action, POSITIVE_INTEGER.check("limit", limit), on_skip
        self._steps, self._in_a_row, self._skipped = 0, 0, 0

    def get_state(self) -> dict[str, int]:
        """The steps so far, and how many at the end were skipped; for `set_state` when a run resumes."""
        return {"steps": self._steps, "in_a_row": self._in_a_row}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Continues to count from what `get_state` returned."""
        self._steps, self._in_a_row = state["steps"], state["in_a_row"]
        if self.model is not None:
            self.on_train_begin()

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._skipped = 0
        self.model.nonfinite_monitor.start(self._steps, self._in_a_row)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        notes = self.model.nonfinite_monitor.read()
        self._steps, self._in_a_row = notes.steps, notes.in_a_row
        before, self._skipped = self._skipped, notes.skipped
        if notes.skipped == before:
            return
        what = f"{notes.found} is not finite (loss {notes.loss:.4g})"
        if self.action == "stop" or notes.in_a_row >= self.limit:
            self._in_a_row = 0
            row = f", the last of {notes.in_a_row} in a row" if notes.in_a_row > 1 else ""
            raise NonFiniteError(f"step {notes.number:,}{row}: {what}. {_advice(notes.found)}")
        if self.model.replicas.is_chief:
            self.on_skip(f"step {notes.number:,} skipped: {what}")


def _advice(found):
    if found.startswith(("the weight", "the optimizer's")):
        return "No training step wrote that value; load saved weights."
    return "Give a lower learning_rate; if that does not help, look for NaN in the sample weights and regularizers."


def with_guard(callbacks: Any) -> list[keras.callbacks.Callback]:
    """The callbacks of a `fit`, in any form that Keras takes, as a list with a `Guard` in it."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
    return given if any(isinstance(callback, Guard) for callback in given) else [Guard(), *given]


@contextlib.contextmanager
def unless_updated(model: keras.Model) -> Iterator[None]:
    """A context for `fit`: if every step was skipped, the model keeps its weights, also with averaged weights.

    At the end, an optimizer with `use_ema` replaces the weights by their averages. Those start as zeros.
    """
    optimizer = model.optimizer
    averages = getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False)
    weights = model.get_weights() if averages and not optimizer.iterations.numpy() else None
    try:
        yield
    finally:
        if weights is not None and not optimizer.iterations.numpy():
            model.set_weights(weights)

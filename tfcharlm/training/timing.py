"""How long the training steps of a model take on this machine, as it is now."""

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checkpoint import assign, values_of
from tfcharlm.model import CharLM, NonFiniteError

# Of every thread: nanoseconds in which it ran, in which it waited for a core, and how often it ran.
THREADS = Path("/proc/self/task")
# Alone on two cores, waits were 3% to 16% of the time; beside one busy process on each core they were 70% to 90%.
BUSY = 0.3


@dataclasses.dataclass(frozen=True)
class StepTiming:
    """What `time_steps` returns.

    Args:
        first: seconds of the first step, which includes tracing.
        step: seconds of each further step.
        waiting: fraction of the time that the threads wanted to run and waited for a core, 0 to 1; None where the
            system does not say.
    """

    first: float
    step: float
    waiting: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether other processes take much of the cores."""
        return self.waiting is not None and self.waiting > BUSY


class CoreWaiting:
    """Measures for how much of the time the threads of this process wait for a core that others have.

    Linux counts it in `/proc/self/task/*/schedstat`. The load average would include this process, and lags behind by a
    minute.

    Example:

    >>> from tfcharlm.training import CoreWaiting
    >>> waiting = CoreWaiting()
    >>> sum(range(10**6))
    499999500000
    >>> fraction = waiting.fraction()
    >>> fraction is None or 0 <= fraction <= 1
    True
    """

    def __init__(self) -> None:
        self._before = _running_and_waiting()

    def fraction(self) -> float | None:
        """The fraction since the last call, or since this object was made; None where the system does not say."""
        before, self._before = self._before, _running_and_waiting()
        # A thread that has ended is not counted any more.
        ran, waited = (max(0, now - then) for now, then in zip(self._before, before, strict=True))
        return waited / (ran + waited) if ran + waited else None


def _running_and_waiting():
    ran = waited = 0
    for path in THREADS.glob("*/schedstat"):
        try:
            fields = path.read_text().split()
        except OSError:  # the thread has ended
            continue
        ran, waited = ran + int(fields[0]), waited + int(fields[1])
    return ran, waited


def time_steps(model: CharLM, data: tf.data.Dataset, seconds: float = 1.5, fewest: int = 4) -> StepTiming | None:
    """Times training steps of a model, and leaves the model as it was.

    The learning rate is 0 meanwhile. The graph of the step is traced here, so a later `fit` need not do it.

    Args:
        model: a compiled `CharLM`.
        data: the training data, a data set of batches.
        seconds: how long to train after the first two steps; 1.5 by default, which is 1% of two minutes.
        fewest: steps to time at least; 4 by default, because a single one may have been interrupted by others.

    Returns:
        A `StepTiming`, the same in all workers of a job; None if the data has too few batches, or the steps are not
        finite.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.training import time_steps
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    >>> model.compile()
    >>> data = tfcharlm.text.stream_dataset([0, 1] * 50, batch_size=2, sequence_length=4, epochs=10)
    >>> timing = time_steps(model, data, seconds=0.1)
    >>> timing.first > timing.step > 0
    True
    """
    if not model.optimizer.built:
        with model.replicas.scope():
            model.optimizer.build(model.trainable_variables)
    before = values_of(model.run_state)
    timer = _StepTimer(model.replicas.clock, seconds, fewest)
    try:
        model.optimizer.learning_rate.assign(0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Not the whole data: it may be as long as it likes, and Keras would call it one epoch.
            model.fit(data, steps_per_epoch=10**9, shuffle=False, verbose=0, callbacks=[timer])
    except NonFiniteError:
        return None
    finally:
        # Training starts with new metrics.
        assign(model.run_state, before, exclude=("metrics",))
    return timer.result(model.replicas.all_gather)


class _StepTimer(keras.callbacks.Callback):
    """Stops when there is enough to tell. All workers share the clock, so they stop after the same step."""

    def __init__(self, clock: Callable[[], float], seconds: float, fewest: int) -> None:
        super().__init__()
        self._clock, self._seconds, self._fewest = clock, seconds, fewest
        # What follows the first step: the clock of several workers shows when the last step began.
        self._times: list[float] = []
        self._first = 0.0

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._times:
            self._first = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._times:
            self._first = time.monotonic() - self._first
        self._times.append(self._clock())
        if len(self._times) == 2:
            self._waiting = CoreWaiting()
        if len(self._times) >= 2 + self._fewest and self._times[-1] - self._times[1] >= self._seconds:
            self.model.stop_training = True

    def result(self, all_gather: Callable[[float], list[float]]) -> StepTiming | None:
        if len(self._times) < 3:
            return None
        step = (self._times[-1] - self._times[1]) / (len(self._times) - 2)
        return StepTiming(all_gather(self._first)[0], step, self._waiting.fraction())

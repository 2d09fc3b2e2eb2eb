"""The time that a run of minutes keeps for its end: the last evaluations, and saving the model."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfcharlm.training.evaluation import PeriodicEvaluation
from tfcharlm.training.schedule import Budget
from tfcharlm.training.timing import CoreWaiting, StepTiming

# The last evaluation may take a tenth of the run, and so may those in the course of it together.
LAST_SHARE, PERIODIC_SHARE = 0.1, 0.1
# How much slower saving may become than `saving` says, if others come to take the cores.
MOST_SLOWER = 3.0
# A chunk is evaluated in the time of 0.3 to 0.7 training steps.
STEPS_PER_CHUNK = 0.5


class EndReserve(keras.callbacks.Callback):
    """Ends the training so early that the last evaluations and the saving are done when the budget is used up.

    It corrects its estimate after every evaluation, by the time it took and by how long threads wait for cores. It
    does nothing to a budget of steps.

    Args:
        budget: the `Budget` of the run, at whose start it is made.
        chunks: how many chunks an evaluation in the course of the run reads, and the fit of a temperature after it.
        all_chunks: how many chunks the whole held-out text has.
        saving: seconds that the caller needs after training, for example for an export.
        timing: the `StepTiming` of the model; None if it was not measured. Then the first estimate has no evaluations.
        all_gather: collects a number from every worker, so that all decide alike; by default there is one.
        fits_temperature: whether a temperature is fitted at the end; False by default.

    Example:

    >>> from tfcharlm.training import Budget, EndReserve, StepTiming
    >>> budget = Budget(seconds=120)
    >>> reserve = EndReserve(budget, chunks=24, all_chunks=1000, saving=6.0, timing=StepTiming(first=1.0, step=0.1))
    >>> round(budget.reserved, 1)          # 24 chunks, 240 chunks, and the saving
    19.2
    >>> reserve.last_chunks()
    240
    """

    def __init__(
        self,
        budget: Budget,
        chunks: int,
        all_chunks: int,
        saving: float = 0.0,
        timing: StepTiming | None = None,
        all_gather: Callable[[float], list[float]] = lambda number: [number],
        fits_temperature: bool = False,
    ) -> None:
        super().__init__()
        self.fits_temperature = fits_temperature
        self.budget, self.chunks, self.all_chunks, self.saving = budget, chunks, all_chunks, saving
        # Also after the run was made shorter.
        self._seconds = budget.seconds or 0.0
        self._waiting, self._waited = CoreWaiting(), None if timing is None else timing.waiting
        self._slower = 1.0
        self._all_gather, self._seen = all_gather, 0
        # At least half of what start-up left is for training.
        self._most = 0.0 if budget.seconds is None else max(budget.seconds - budget.elapsed(), 0) / 2
        self._per_chunk = 0.0 if timing is None else timing.step * STEPS_PER_CHUNK
        # In a run that has only one evaluation, which includes tracing.
        self._at_most_per_chunk = 0.0
        self.evaluations: PeriodicEvaluation | None = None
        self._update()

    def most_evaluations(self, wanted: int) -> int:
        """How many evaluations fit into a tenth of the budget, but at most as many as are wanted and at least one."""
        if self.budget.seconds is None or not self._per_chunk:
            return wanted
        return max(1, min(wanted, int(PERIODIC_SHARE * self.budget.seconds / (self._per_chunk * self.chunks))))

    def last_chunks(self) -> int:
        """How many chunks of the held-out text the last evaluation reads."""
        per_chunk = self._per_chunk or self._at_most_per_chunk
        if self.budget.seconds is None or not per_chunk:
            return self.all_chunks
        return min(self.all_chunks, max(self.chunks, round(LAST_SHARE * self._seconds / per_chunk)))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self.evaluations is None or len(self.evaluations.durations) == self._seen:
            return
        self._seen = len(self.evaluations.durations)
        if self.budget.seconds is None:
            return
        per_chunk = self._all_gather(self.evaluations.durations[-1])[0] / self.chunks
        # The first one includes tracing.
        if self._seen == 1:
            self._at_most_per_chunk = per_chunk
        else:
            self._per_chunk = per_chunk
            self._slower = self._all_gather(_slower(self._waited, self._waiting.fraction()))[0]
            self._update()

    def _update(self) -> None:
        if self.budget.seconds is not None:
            chunks = (1 + self.fits_temperature) * self.chunks + self.last_chunks()
            needed = self.saving * self._slower + self._per_chunk * chunks
            self.budget.reserved = min(needed, self._most)

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs when a run resumes."""
        evaluations = self.evaluations.num_evaluations if self.evaluations else None
        return {
            "saving": self.saving,
            "slower": self._slower,
            "per_chunk": self._per_chunk,
            "most": self._most,
            "num_evaluations": evaluations,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        self.saving, self._slower = state["saving"], state["slower"]
        self._per_chunk, self._most = state["per_chunk"], state["most"]
        if self.evaluations is not None:
            self.evaluations.num_evaluations = state["num_evaluations"]
        self._update()


def _slower(then, now):
    """How much slower this process is than it was, from the fractions of the time in which it waited for cores."""
    if then is None or now is None:
        return 1.0
    return min(max((1 - then) / max(1 - now, 0.01), 1.0), MOST_SLOWER)

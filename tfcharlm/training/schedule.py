"""A budget of time or steps, and a learning rate that falls until the budget is used up."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Budget:
    """What a run may take, in seconds or in steps; it tells which fraction of it is done.

    Args:
        seconds: of the run, from now on; None (default) counts steps.
        steps: of the run, if there are no `seconds`.
        clock: a function without arguments that returns seconds; `time.monotonic` by default. Several workers must
            share a clock (`tfcharlm.model.Replicas.clock`).

    Raises:
        ValueError: neither seconds nor steps are given.

    Example:

    >>> from tfcharlm.training import Budget
    >>> budget = Budget(steps=200)
    >>> budget.fraction_done(steps=50)
    0.25
    """

    def __init__(
        self, seconds: float | None = None, steps: int | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        if seconds is None and steps is None:
            raise ValueError("seconds or steps must be given, such as steps=100; received neither.")
        self.seconds, self.steps = seconds, steps
        # Seconds at the end that are for something else than training, see `EndReserve`.
        self.reserved = 0.0
        self._clock = time.monotonic if clock is None else clock
        self._started = self._clock()
        self._paused: float | None = None
        # How much was used when the rest was made shorter, and the fraction that was done then; see `shorten`.
        self._used_then, self._done_then = 0.0, 0.0

    def elapsed(self) -> float:
        """Seconds since this object was made, without pauses."""
        return (self._clock() if self._paused is None else self._paused) - self._started

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """A context in which the clock stands still."""
        self._paused = self._clock()
        try:
            yield
        finally:
            self._started += self._clock() - self._paused
            self._paused = None

    def resume(self, elapsed: float) -> None:
        """Sets the clock to the value of `elapsed()` at which the run was interrupted."""
        self._started = self._clock() - elapsed

    def fraction_done(self, steps: int) -> float:
        """The fraction of the budget that is used after so many steps, from 0 to 1."""
        left = self._total() - self._used_then
        if left <= 0:
            return 1.0  # what is reserved has grown since `shorten`
        return min(self._done_then + (1 - self._done_then) * (self._used(steps) - self._used_then) / left, 1.0)

    def shorten(self, back_to: float, share: float, steps: int) -> float:
        """Goes back to what was done earlier, and uses up the rest of the budget in less time.

        Args:
            back_to: the second, or the step, to go back to; not 0.
            share: the rest takes this share of what was used until then, or what is left if that is less.
            steps: the steps that were made.

        Returns:
            The fraction that is done now.

        Example:

        >>> from tfcharlm.training import Budget
        >>> budget = Budget(steps=100)
        >>> budget.shorten(back_to=40, share=0.5, steps=60), budget.fraction_done(steps=70), budget.steps
        (0.4, 0.7, 80)
        """
        used = self._used(steps)
        self._done_then, self._used_then = min(back_to / self._total(), 1.0), used
        end = min(used + share * back_to, self._total())
        if self.seconds is None:
            self.steps = math.ceil(end)
        else:
            self.seconds = end + self.reserved
        return self._done_then

    def _used(self, steps: int) -> float:
        return steps if self.seconds is None else self.elapsed()

    def _total(self) -> float:
        return self.steps if self.seconds is None else self.seconds - self.reserved  # type: ignore[return-value]

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs when a run resumes."""
        state: dict[str, Any] = {"elapsed": self.elapsed()}
        if self._used_then:
            state["shortened"] = [self.seconds, self.steps, self._used_then, self._done_then]
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        self.resume(state["elapsed"])
        if "shortened" in state:
            self.seconds, self.steps, self._used_then, self._done_then = state["shortened"]


# For the fraction of the budget that is done: the learning rate as a fraction of its peak.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


def learning_rate_at(peak: float, fraction_done: float, schedule: str = "cosine", warm_up: float = 0.02) -> float:
    r"""The learning rate when a fraction of the budget is done: a linear warm-up, then the schedule.

    $$ \eta = \eta_{max} \cdot \min\left(\frac{d}{\mathrm{warm\_up}},
       \tfrac12 (1 + \cos(\pi d))\right) $$

    Args:
        peak: the highest learning rate.
        fraction_done: d, from 0 to 1.
        schedule: "cosine" (default), half a period as above; "linear"; or "constant". The first two end at 0.
        warm_up: fraction of the budget in which the rate rises; 0.02 by default.

    Returns:
        The learning rate.

    Example:

    >>> from tfcharlm.training import learning_rate_at
    >>> [round(learning_rate_at(0.1, done), 3) for done in (0.0, 0.01, 0.5, 1.0)]
    [0.0, 0.05, 0.05, 0.0]

    Reference: Loshchilov & Hutter (2017), SGDR; Goyal et al. (2017) for the warm-up.
    """
    return peak * min(fraction_done / warm_up, SCHEDULES[schedule](fraction_done))

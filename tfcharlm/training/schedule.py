"""A budget of time or steps, and a learning rate that falls to the end of it."""

import contextlib
import math
import time

import keras


class Budget:
    """How much of a run is done, from 0 to 1: by the clock if it has `seconds`, else by `steps`.

    The clock is a function that returns seconds; several workers must agree upon one (`Replicas.clock`).

    Example:

    >>> from tfcharlm.training import Budget
    >>> budget = Budget(steps=200)
    >>> budget.fraction_done(steps=50)
    0.25
    """

    def __init__(self, seconds=None, steps=None, clock=None):
        self.seconds, self.steps = seconds, steps
        self._clock = time.monotonic if clock is None else clock
        self._began, self._paused = self._clock(), None

    def elapsed(self):
        """Seconds since this object was made, without those in a pause."""
        return (self._clock() if self._paused is None else self._paused) - self._began

    @contextlib.contextmanager
    def pause(self):
        """For a `with`: what happens in it costs nothing."""
        self._paused = self._clock()
        try:
            yield
        finally:
            self._began += self._clock() - self._paused
            self._paused = None

    def resume(self, elapsed):
        """Sets the clock to what `elapsed` was when the run was interrupted."""
        self._began = self._clock() - elapsed

    def fraction_done(self, steps):
        """The fraction of the budget that is used after so many steps."""
        done = steps / self.steps if self.seconds is None else self.elapsed() / self.seconds
        return min(done, 1.0)


# The fraction of the peak that is left when a fraction of the budget is done.
SCHEDULES = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}


def learning_rate_at(peak, fraction_done, schedule="cosine", warm_up=0.02):
    r"""The learning rate when a fraction of the budget is done: a linear warm-up, then the schedule.

    $$ \eta = \eta_{max} \cdot \min\left(\frac{d}{\mathrm{warm\_up}},
       \tfrac12 (1 + \cos(\pi d))\right) $$

    Args:
        peak: the highest learning rate.
        fraction_done: d, from 0 to 1.
        schedule: "cosine", half a period, as above; "linear"; or "constant". All but the last one end at 0.
        warm_up: share of the budget in which the rate rises.

    Example:

    >>> from tfcharlm.training import learning_rate_at
    >>> [round(learning_rate_at(0.1, done), 3) for done in (0.0, 0.01, 0.5, 1.0)]
    [0.0, 0.05, 0.05, 0.0]

    Reference: Loshchilov & Hutter (2017), SGDR; Goyal et al. (2017) for the warm-up.
    """
    return peak * min(fraction_done / warm_up, SCHEDULES[schedule](fraction_done))


class AnnealLearningRate(keras.callbacks.Callback):
    """Sets the optimizer's learning rate before every batch, and stops the training when the budget is used up.

    Args:
        peak, schedule: of `learning_rate_at`.
        budget: a `Budget`.
        on_step: called after every batch with the fraction of the budget that is done.
    """

    def __init__(self, peak, budget, schedule="cosine", on_step=lambda fraction_done: None):
        super().__init__()
        self.peak, self.budget, self.schedule, self.on_step = peak, budget, schedule, on_step
        self._steps, self._done_at_start = 0, 0.0

    def on_train_batch_begin(self, batch, logs=None):
        # The first step, at a rate of 0, would be wasted.
        done = 1e-4
        if self._steps:
            start = self._done_at_start
            done = max((self.budget.fraction_done(self._steps) - start) / (1 - start), 1e-4)
        self.model.optimizer.learning_rate.assign(learning_rate_at(self.peak, done, self.schedule))

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        done = self.budget.fraction_done(self._steps)
        if self._steps == 1 and self.budget.seconds is not None and done < 1:
            # Start-up and tracing: the schedule has what is left.
            self._done_at_start = done
        if done >= 1:
            self.model.stop_training = True
        self.on_step(done)

    def get_state(self):
        return {"steps": self._steps, "done_at_start": self._done_at_start, "elapsed": self.budget.elapsed()}

    def set_state(self, state):
        self._steps, self._done_at_start = state["steps"], state["done_at_start"]
        self.budget.resume(state["elapsed"])

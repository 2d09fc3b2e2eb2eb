"""Keras callbacks that see a run through: a budget, a learning rate that ends with it, and reports on the way."""

import contextlib
import dataclasses
import math
import time

import keras


class Budget:
    """How much of a run is done, from 0 to 1: by the clock if it has `seconds`, else by `steps`.

    The clock is a function that returns seconds; several workers must agree upon one (`Replicas.clock`).

    Example:

    >>> budget = Budget(steps=200)
    >>> budget.spent(steps=50)
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

    def go_on(self, elapsed):
        """Sets the clock to what `elapsed` was when the run was interrupted."""
        self._began = self._clock() - elapsed

    def spent(self, steps):
        done = steps / self.steps if self.seconds is None else self.elapsed() / self.seconds
        return min(done, 1.0)


# What is left of the peak after a share `spent` of the budget.
SCHEDULES = {
    "cosine": lambda spent: 0.5 * (1 + math.cos(math.pi * spent)),
    "linear": lambda spent: 1 - spent,
    "constant": lambda spent: 1.0,
}


def annealed(peak, spent, schedule="cosine", warm_up=0.02):
    r"""The learning rate after a share `spent` of the budget: up in a line, then down as the schedule says.

    $$ \eta = \eta_{max} \cdot \min\left(\frac{\mathrm{spent}}{\mathrm{warm\_up}},
       \tfrac12 (1 + \cos(\pi \cdot \mathrm{spent}))\right) $$

    Args:
        peak: the highest learning rate.
        spent: from 0 to 1.
        schedule: "cosine", half a period, as above; "linear"; or "constant". All but the last one end at 0.
        warm_up: share of the budget in which the rate rises.

    Example:

    >>> [round(annealed(0.1, spent), 3) for spent in (0.0, 0.01, 0.5, 1.0)]
    [0.0, 0.05, 0.05, 0.0]

    Reference: Loshchilov & Hutter (2017), SGDR; Goyal et al. (2017) for the warm-up.
    """
    return peak * min(spent / warm_up, SCHEDULES[schedule](spent))


class AnnealLearningRate(keras.callbacks.Callback):
    """Sets the optimizer's learning rate before every batch, and stops the training when the budget is spent.

    Args:
        peak, schedule: of `annealed`.
        budget: a `Budget`.
        on_step: called after every batch with the share of the budget that is spent.
    """

    def __init__(self, peak, budget, schedule="cosine", on_step=lambda spent: None):
        super().__init__()
        self.peak, self.budget, self.schedule, self.on_step = peak, budget, schedule, on_step
        self._steps, self._begun = 0, 0.0

    def on_train_batch_begin(self, batch, logs=None):
        # The first step, at a rate of 0, would be wasted.
        share = max((self.budget.spent(self._steps) - self._begun) / (1 - self._begun), 1e-4) if self._steps else 1e-4
        self.model.optimizer.learning_rate.assign(annealed(self.peak, share, self.schedule))

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1
        spent = self.budget.spent(self._steps)
        if self._steps == 1 and self.budget.seconds is not None and spent < 1:
            # Start-up and tracing: the schedule has what is left.
            self._begun = spent
        if spent >= 1:
            self.model.stop_training = True
        self.on_step(spent)

    def get_state(self):
        return {"steps": self._steps, "begun": self._begun, "elapsed": self.budget.elapsed()}

    def set_state(self, state):
        self._steps, self._begun = state["steps"], state["begun"]
        self.budget.go_on(state["elapsed"])


@dataclasses.dataclass(frozen=True)
class Report:
    """One line of a learning curve. Losses are in nats per token; `seconds` since the run began.

    The training figures are means since the last report. The validation figures are of the first chunks of the
    held-out text only; the best weights are chosen by them.
    """

    step: int
    seconds: float
    tokens: int
    learning_rate: float
    loss: float
    bits_per_character: float
    val_loss: float
    val_bits_per_character: float


@contextlib.contextmanager
def averaged_weights(model):
    r"""For a `with`: the model has the weights that its optimizer has averaged, if it does so.

    $$ \bar w \leftarrow \mu \bar w + (1 - \mu) w \text{ after every update} $$

    Reference: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging.
    """
    # One that scales the loss has another one inside.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # Before the first update the averages are zeros.
    if not getattr(optimizer, "use_ema", False) or not optimizer.built or not optimizer.iterations.numpy():
        yield
        return
    own = [variable.numpy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)


class Reporter(keras.callbacks.Callback):
    """Evaluates at equal shares of the budget, keeps the reports and the best weights; averaged ones, if there are.

    Args:
        validation: a data set to evaluate on; the states that training carries are not touched by it.
        budget: a `Budget`.
        tokens_per_step: batch size times sequence length.
        reports: how many reports there are in a run.
        on_report: called with each `Report` and the history that ends with it.
        free: whether the budget's clock stands still in a report.
    """

    def __init__(self, validation, budget, tokens_per_step, reports, on_report, free=False):
        super().__init__()
        self.validation, self.budget, self.tokens_per_step = validation, budget, tokens_per_step
        self.on_report, self.reports, self.free = on_report, reports, free
        self.history, self.best, self.best_weights = [], math.inf, None
        # What was spent before the first step is no time to report on.
        self.steps, self._due = 0, 1 + math.floor(budget.spent(0) * reports)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        passed = math.floor(self.budget.spent(self.steps) * self.reports)
        if passed >= self._due:
            self._due = passed + 1
            with self.budget.pause() if self.free else contextlib.nullcontext():
                self._report(logs)

    def _report(self, logs):
        with averaged_weights(self.model):
            self._report_on_weights({name: float(value) for name, value in logs.items()})

    def _report_on_weights(self, trained):
        measured = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        # Training and evaluation share their metrics: the next report's means begin here.
        self.model.reset_metrics()
        report = Report(
            step=self.steps,
            seconds=self.budget.elapsed(),
            tokens=self.steps * self.tokens_per_step,
            learning_rate=float(self.model.optimizer.learning_rate.numpy()),
            loss=trained["loss"],
            bits_per_character=trained["bits_per_character"],
            val_loss=measured["loss"],
            val_bits_per_character=measured["bits_per_character"],
        )
        self.history.append(report)
        if report.val_loss < self.best:
            self.best, self.best_weights = report.val_loss, self.model.get_weights()
        if not math.isfinite(report.val_loss):
            self.model.stop_training = True
        self.on_report(report, self.history)

    def get_state(self):
        # Before the first report there is no best loss.
        best = None if self.best_weights is None else {"loss": self.best, "weights": self.best_weights}
        history = [dataclasses.asdict(report) for report in self.history]
        return {"steps": self.steps, "due": self._due, "history": history, "best": best}

    def set_state(self, state):
        self.steps, self._due = state["steps"], state["due"]
        self.history = [Report(**report) for report in state["history"]]
        if state["best"] is not None:
            self.best, self.best_weights = state["best"]["loss"], state["best"]["weights"]

    def restore_best_weights(self):
        """Gives the model the weights of its best report; if there was none, those it has, or their averages."""
        best = self.best_weights
        if best is None:
            with averaged_weights(self.model):
                best = self.model.get_weights()
        self.model.set_weights(best)

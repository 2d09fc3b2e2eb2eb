"""Evaluations in the course of a run: the learning curve, and the best weights."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.training.averages import averaged_weights, restart_averages
from tfcharlm.training.overfitting import is_overfitting
from tfcharlm.training.schedule import Budget

# A run that ends early goes back to its best weights. From there, the learning rate falls in this share of the time
# that they took.
COOLING = 0.5
# The share of that time which evaluations may take.
EVALUATING = 0.1


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One point of a learning curve.

    Args:
        step: batches since the start of the run.
        seconds: time since the start of the run.
        tokens: tokens read since the start of the run.
        learning_rate: of the last step.
        loss: mean training loss since the previous evaluation, in nats per token; None before the first step.
        bits_per_character: the same in bits per character.
        val_loss: loss on the first chunks of the held-out text, in nats per token. The best weights are chosen by it.
        val_bits_per_character: the same in bits per character.
    """

    step: int
    seconds: float
    tokens: int
    learning_rate: float
    loss: float | None
    bits_per_character: float | None
    val_loss: float
    val_bits_per_character: float


class PeriodicEvaluation(keras.callbacks.Callback):
    """Evaluates at equal fractions of the budget, and keeps the learning curve and the best weights.

    If the optimizer averages the weights, the averages are evaluated and kept.

    Args:
        validation: a data set to evaluate on. The states that training carries are not changed by it.
        budget: a `Budget`.
        tokens_per_step: batch size times sequence length; None if it differs from step to step, as with lines. The
            tokens with a weight are then counted.
        num_evaluations: how many evaluations there are in a run.
        on_evaluation: called with each `Evaluation` and the list of all so far, which ends with it.
        pause_clock_during_evaluation: whether the clock of the budget stands still during evaluations. False by
            default.
        start: an evaluation before the first step, which becomes the first point of the curve; None (default) for none.
        ends_early: whether the run is made shorter if `is_overfitting` says so: it goes back to the best weights, and
            the learning rate falls from there. It ends at once if it began from a model that is better. False by
            default.

    Attributes:
        ended_early: whether `is_overfitting` has said so.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.training import Budget, PeriodicEvaluation
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    >>> model.compile()
    >>> data = tfcharlm.text.stream_dataset([0, 1] * 50, batch_size=2, sequence_length=7)
    >>> evaluations = PeriodicEvaluation(
    ...     data, Budget(steps=len(data)), tokens_per_step=14, num_evaluations=2,
    ...     on_evaluation=lambda evaluation, history: None)
    >>> history = model.fit(data, verbose=0, callbacks=[evaluations])
    >>> [evaluation.step for evaluation in evaluations.history]
    [4, 7]
    """

    def __init__(
        self,
        validation: tf.data.Dataset,
        budget: Budget,
        tokens_per_step: int | None,
        num_evaluations: int,
        on_evaluation: Callable[[Evaluation, list[Evaluation]], object],
        pause_clock_during_evaluation: bool = False,
        start: Evaluation | None = None,
        ends_early: bool = False,
    ) -> None:
        super().__init__()
        self.validation, self.budget, self.tokens_per_step = validation, budget, tokens_per_step
        self.on_evaluation, self.num_evaluations = on_evaluation, num_evaluations
        self.pause_clock_during_evaluation = pause_clock_during_evaluation
        self.start, self.ends_early = start, ends_early
        self.ended_early = False
        self.history: list[Evaluation] = []
        # Seconds that each evaluation of this process took.
        self.durations: list[float] = []
        self.best = math.inf
        self.best_weights: list[np.ndarray] | None = None
        # Evaluations that were due before the first step are left out.
        self._tokens = 0
        self.steps, self._due = 0, 1 + math.floor(budget.fraction_done(0) * num_evaluations)

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # A resumed run has it in its history.
        if self.start is not None and not self.history:
            self._keep(self.start)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.steps += 1
        passed = math.floor(self.budget.fraction_done(self.steps) * self.num_evaluations)
        if passed >= self._due:
            self._due = passed + 1
            with self.budget.pause() if self.pause_clock_during_evaluation else contextlib.nullcontext():
                self._evaluate(logs)
            self._end_early_if_overfitting()

    def _end_early_if_overfitting(self):
        losses = [evaluation.val_loss for evaluation in self.history]
        # Of the history alone: a resumed run decides as if it had not been interrupted. All workers decide alike,
        # because a loss is the same sum over all of them.
        if not self.ends_early or self.ended_early or not is_overfitting(losses):
            return
        if self.budget.fraction_done(self.steps) == 1:
            return  # it ends anyway
        self.ended_early = True
        best = self.history[losses.index(min(losses))]
        if not best.step:
            self.model.stop_training = True  # nothing is better than the model that the run began from
            return
        self.model.set_weights(self.best_weights)
        restart_averages(self.model)
        back_to = best.step if self.budget.seconds is None else best.seconds
        done = self.budget.shorten(back_to, COOLING, self.steps)
        if self.budget.seconds is not None:
            # No more of them than fit into a tenth of the time that is left.
            duration = self.model.replicas.all_gather(self.durations[-1])[0]
            most = max(1, int(EVALUATING * COOLING * back_to / max(duration, 1e-6)))
            self.num_evaluations = max(1, min(self.num_evaluations, round(most / (1 - done))))
        self._due = 1 + math.floor(done * self.num_evaluations)

    def _evaluate(self, logs):
        with averaged_weights(self.model):
            self._evaluate_weights({name: float(value) for name, value in logs.items()})

    def _evaluate_weights(self, trained):
        if self.tokens_per_step is None:
            # Training and evaluation share their metrics; this one has counted since the previous evaluation.
            self._tokens += round(float(next(m for m in self.model.metrics if m.name == "loss").weight.numpy()))
        started = time.monotonic()
        measured = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        self.durations.append(time.monotonic() - started)
        # Training and evaluation share their metrics. The training means of the next evaluation start here.
        self.model.reset_metrics()
        evaluation = Evaluation(
            step=self.steps,
            seconds=self.budget.elapsed(),
            tokens=self._tokens if self.tokens_per_step is None else self.steps * self.tokens_per_step,
            learning_rate=float(self.model.optimizer.learning_rate.numpy()),
            loss=trained["loss"],
            bits_per_character=trained["bits_per_character"],
            val_loss=measured["loss"],
            val_bits_per_character=measured["bits_per_character"],
        )
        self._keep(evaluation)

    def _keep(self, evaluation):
        self.history.append(evaluation)
        if evaluation.val_loss < self.best:
            self.best, self.best_weights = evaluation.val_loss, self.model.get_weights()
        if not math.isfinite(evaluation.val_loss):
            self.model.stop_training = True
        self.on_evaluation(evaluation, self.history)

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs when a run resumes."""
        # Before the first evaluation there is no best loss.
        best = None if self.best_weights is None else {"loss": self.best, "weights": self.best_weights}
        history = [dataclasses.asdict(evaluation) for evaluation in self.history]
        state = {"steps": self.steps, "due": self._due, "tokens": self._tokens, "history": history, "best": best}
        return {**state, "ended_early": self.ended_early}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        self.steps, self._due = state["steps"], state["due"]
        self._tokens = state.get("tokens", 0)
        self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
        # Of a checkpoint of an earlier version: a run that ended early did not go back.
        overfits = self.ends_early and is_overfitting([one.val_loss for one in self.history])
        self.ended_early = bool(state.get("ended_early", overfits))
        if state["best"] is not None:
            self.best, self.best_weights = state["best"]["loss"], state["best"]["weights"]

    def restore_best_weights(self) -> None:
        """Gives the model the weights of its best evaluation; without an evaluation, the current or averaged ones."""
        best = self.best_weights
        if best is None:
            with averaged_weights(self.model):
                best = self.model.get_weights()
        self.model.set_weights(best)

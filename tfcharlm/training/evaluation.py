"""Evaluations in the course of a run: the learning curve, and the best weights."""

import contextlib
import dataclasses
import math

import keras


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One line of a learning curve. Losses are in nats per token, `seconds` since the run started.

    The training figures are means since the last evaluation. The validation figures are of the first chunks of the
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
    weights = [variable.numpy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


class PeriodicEvaluation(keras.callbacks.Callback):
    """Evaluates at equal fractions of the budget; keeps the learning curve and the best weights, averaged if they are.

    Args:
        validation: a data set to evaluate on; the states that training carries are not touched by it.
        budget: a `Budget`.
        tokens_per_step: batch size times sequence length.
        num_evaluations: how many evaluations there are in a run.
        on_evaluation: called with each `Evaluation` and the history that ends with it.
        pause_clock_during_evaluation: whether evaluations cost nothing of a budget of seconds.
    """

    def __init__(
        self,
        validation,
        budget,
        tokens_per_step,
        num_evaluations,
        on_evaluation,
        pause_clock_during_evaluation=False,
    ):
        super().__init__()
        self.validation, self.budget, self.tokens_per_step = validation, budget, tokens_per_step
        self.on_evaluation, self.num_evaluations = on_evaluation, num_evaluations
        self.pause_clock_during_evaluation = pause_clock_during_evaluation
        self.history, self.best, self.best_weights = [], math.inf, None
        # What was done before the first step is not evaluated.
        self.steps, self._due = 0, 1 + math.floor(budget.fraction_done(0) * num_evaluations)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        passed = math.floor(self.budget.fraction_done(self.steps) * self.num_evaluations)
        if passed >= self._due:
            self._due = passed + 1
            with self.budget.pause() if self.pause_clock_during_evaluation else contextlib.nullcontext():
                self._evaluate(logs)

    def _evaluate(self, logs):
        with averaged_weights(self.model):
            self._evaluate_weights({name: float(value) for name, value in logs.items()})

    def _evaluate_weights(self, trained):
        measured = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        # Training and evaluation share their metrics: the next evaluation's means start here.
        self.model.reset_metrics()
        evaluation = Evaluation(
            step=self.steps,
            seconds=self.budget.elapsed(),
            tokens=self.steps * self.tokens_per_step,
            learning_rate=float(self.model.optimizer.learning_rate.numpy()),
            loss=trained["loss"],
            bits_per_character=trained["bits_per_character"],
            val_loss=measured["loss"],
            val_bits_per_character=measured["bits_per_character"],
        )
        self.history.append(evaluation)
        if evaluation.val_loss < self.best:
            self.best, self.best_weights = evaluation.val_loss, self.model.get_weights()
        if not math.isfinite(evaluation.val_loss):
            self.model.stop_training = True
        self.on_evaluation(evaluation, self.history)

    def get_state(self):
        # Before the first evaluation there is no best loss.
        best = None if self.best_weights is None else {"loss": self.best, "weights": self.best_weights}
        history = [dataclasses.asdict(evaluation) for evaluation in self.history]
        return {"steps": self.steps, "due": self._due, "history": history, "best": best}

    def set_state(self, state):
        self.steps, self._due = state["steps"], state["due"]
        self.history = [Evaluation(**evaluation) for evaluation in state["history"]]
        if state["best"] is not None:
            self.best, self.best_weights = state["best"]["loss"], state["best"]["weights"]

    def restore_best_weights(self):
        """Gives the model the weights of its best evaluation; if there was none, those it has, or their averages."""
        best = self.best_weights
        if best is None:
            with averaged_weights(self.model):
                best = self.model.get_weights()
        self.model.set_weights(best)

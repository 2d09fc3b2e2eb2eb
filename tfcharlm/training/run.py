"""A training run: text, model, schedule and budget in one place, for the command line and the searches."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checkpoint import Checkpoint
from tfcharlm.model import CharLM
from tfcharlm.text import TextSplit
from tfcharlm.training.annealing import AnnealLearningRate
from tfcharlm.training.build import build_model
from tfcharlm.training.config import SUGGESTED, TrainingConfig
from tfcharlm.training.evaluation import Evaluation, PeriodicEvaluation
from tfcharlm.training.last_evaluation import last_evaluation
from tfcharlm.training.planning import Plan, planned_run
from tfcharlm.training.reserve import EndReserve
from tfcharlm.training.result import INTERRUPTIONS, TrainingResult
from tfcharlm.training.schedule import Budget

# An evaluation reads this many chunks of the held-out text, which takes about a second.
EVALUATION_CHUNKS = 24
# Twelve points make a curve. If they were less than ten seconds apart, evaluations would take too much of the time.
NUM_EVALUATIONS, SECONDS_BETWEEN_EVALUATIONS = 12, 10


class TrainingRun:
    """Trains a model on a text, within a budget of minutes, epochs or steps; `tfcharlm train` is a shell around it.

    The learning rate warms up and then falls until the budget is used up. The model is evaluated up to twelve times on
    the start of the held-out text, and the weights of the best evaluation are kept. Whatever is wrong with the
    arguments is found when the object is made, before training.

    Args:
        split: a `TextSplit`: one text, documents or lines. `batch_size` of lines is the number of items.
        config: a `TrainingConfig`: the budget and all options of model, data and optimizer.
        model: a compiled `CharLM` to train further; None (default) builds the model that `config` describes.
        strategy: a `tf.distribute` strategy in whose scope the model is built; None (default) for this process alone.
            Every worker makes a run of its own, with the same text and configuration.

    Raises:
        ValueError: the text is too short for one batch of sequences.

    Example:

    >>> from tfcharlm.text import TextSplit
    >>> from tfcharlm.training import TrainingConfig, TrainingRun
    >>> split = TextSplit.from_text("to be or not to be\\n" * 100)
    >>> run = TrainingRun(split, TrainingConfig(epochs=2, units=8, batch_size=4, sequence_length=16))
    >>> result = run.train()
    >>> result.steps, len(result.history), result.interrupted
    (52, 12, False)
    >>> len(result.model.generate("to be", max_length=20, seed=0))
    25
    """

    def __init__(
        self,
        split: TextSplit,
        config: TrainingConfig,
        model: CharLM | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.split, self.config = split, config
        chunk: dict[str, Any] = {"batch_size": config.batch_size, "sequence_length": config.sequence_length}
        try:
            self.train_data = split.train_dataset(
                **chunk,
                seed=config.seed,
                epochs=config.epochs,
                state_reset_probability=config.state_reset_probability,
                random_start=config.random_start,
            )
        except ValueError as error:
            held_out, total = split.validation.num_tokens, split.validation.num_tokens + split.train.num_tokens
            raise ValueError(f"{held_out:,} of {total:,} tokens are held out; to train on, {error}") from error
        self.validation_data = self.held_out()
        # Enough to tell which of two evaluations is better; all of the text, twelve times, would take too long.
        self.evaluation_data = self.held_out(EVALUATION_CHUNKS * config.batch_size * config.sequence_length)
        self.plan = Plan()
        # That of `train`, while it trains and afterwards.
        self.running_budget: Budget | None = None
        if model is None:
            with contextlib.nullcontext() if strategy is None else strategy.scope():
                model = build_model(split, config)
        self.model = model
        # Which model the run begins from, and how well that predicts the text; see `fine_tuning_run`.
        self.began_from: dict[str, str] | None = None
        self.start: Evaluation | None = None

    @classmethod
    def with_suggested_size(
        cls,
        split: TextSplit,
        given: Mapping[str, Any],
        strategy: tf.distribute.Strategy | None = None,
        earlier: Mapping[str, Any] | None = None,
        elapsed: float = 0.0,
    ) -> "TrainingRun":
        """Makes a run of some minutes, with the size and the regularization that `suggest_config` finds for them.

        A run of 45 seconds or more then times some steps. If the model would read 1.5 times as many tokens as it was
        chosen for, or less than two thirds of them, its size is suggested once more; `plan` says so.

        Args:
            split: a `TextSplit`.
            given: arguments of `TrainingConfig`, including `minutes`. They override what is suggested.
            strategy: as for `TrainingRun`. The speeds of all its workers are added.
            earlier: the property `suggested` of the run that this one resumes, so that the sizes are the same; None
                (default) for a new run. No steps are timed then. The speed of the machine is measured anyway, because
                all workers must take part.
            elapsed: seconds that the process has already run, as for `train`.

        Returns:
            A `TrainingRun`.

        Raises:
            ValueError: `minutes` are not given, or another argument is out of bounds.
        """
        if TrainingConfig(**given).minutes is None:
            raise ValueError(f"a size is suggested for minutes, such as minutes=2; received {dict(given)}.")
        strategy = tf.distribute.get_strategy() if strategy is None else strategy
        return planned_run(
            lambda config: cls(split, config, strategy=strategy), split, given, strategy, earlier, elapsed
        )

    def held_out(self, tokens: int | None = None) -> tf.data.Dataset:
        """The data set to evaluate on, of about so many held-out tokens; None (default) for all."""
        return self.split.validation_dataset(self.config.batch_size, self.config.sequence_length, tokens)

    @property
    def suggested(self) -> dict[str, Any]:
        """The values of the options that `suggest_config` chooses, by name."""
        return {name: getattr(self.config, name) for name in SUGGESTED}

    def budget(self, fraction: float = 1.0) -> Budget:
        """A `Budget` that is a fraction of that in the configuration; its clock starts now."""
        seconds = None if self.config.minutes is None else self.config.minutes * 60 * fraction
        steps = self.config.steps if self.config.epochs is None else int(self.train_data.cardinality())
        steps = None if steps is None else max(1, round(steps * fraction))
        return Budget(seconds, steps, clock=self.model.replicas.clock)

    def fit(
        self,
        budget: Budget,
        on_evaluation: Callable[[Evaluation, list[Evaluation]], object] = lambda evaluation, history: None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        num_evaluations: int | None = None,
        evaluation_data: tf.data.Dataset | None = None,
        pause_clock_during_evaluation: bool = False,
        on_step: Callable[[float], object] = lambda fraction_done: None,
        ends_early: bool = False,
        reserve: EndReserve | None = None,
    ) -> tuple[PeriodicEvaluation, BaseException | None]:
        """Trains until the budget is used up, or a callback sets `model.stop_training`.

        Unlike `train`, it leaves the model with its last weights, and does not evaluate all of the held-out text.

        Args:
            budget: a `Budget`, such as `budget()` returns.
            on_evaluation: called with every `Evaluation` and the list of all so far, which ends with it.
            callbacks: further Keras callbacks. To them, the whole run is one epoch.
            num_evaluations: how many evaluations; None (default) for twelve, or fewer in a short run.
            evaluation_data: a data set to evaluate on; None (default) for the start of the held-out text.
            pause_clock_during_evaluation: whether the clock stands still during evaluations. False by default.
            on_step: called after every step with the fraction of the budget that is done.
            ends_early: whether to end early if `is_overfitting` says so, as in `train`. False by default.
            reserve: an `EndReserve`, which ends the training early enough for what follows; None (default) for none.

        Returns:
            `(evaluations, interruption)`: the `PeriodicEvaluation`, with the learning curve and the best weights; and
            what ended the run early, a KeyboardInterrupt, a `WorkerLostError` or a `NonFiniteError`, or None.
        """
        config = self.config
        if num_evaluations is None:
            most = NUM_EVALUATIONS if budget.seconds is None else int(budget.seconds // SECONDS_BETWEEN_EVALUATIONS)
            num_evaluations = max(1, min(NUM_EVALUATIONS, most))
            num_evaluations = num_evaluations if reserve is None else reserve.most_evaluations(num_evaluations)
        # Documents and lines have padding.
        tokens_per_step = config.batch_size * config.sequence_length if self.split.kind == "stream" else None
        data, pauses = evaluation_data or self.evaluation_data, pause_clock_during_evaluation
        evaluations = PeriodicEvaluation(
            data, budget, tokens_per_step, num_evaluations, on_evaluation, pauses, self.start, ends_early
        )
        anneal = AnnealLearningRate(config.learning_rate, budget, config.schedule, on_step)
        callbacks = [anneal, evaluations, *([] if reserve is None else [reserve]), *callbacks]
        if reserve is not None:
            reserve.evaluations = evaluations
        # To Keras the run is one epoch, which the budget ends. The epochs over the text are inside the data set.
        endless = None if config.epochs is not None else 10**9
        try:
            self.model.fit(self.train_data, steps_per_epoch=endless, shuffle=False, verbose=0, callbacks=callbacks)
        except INTERRUPTIONS as error:
            return evaluations, error
        return evaluations, None

    def train(
        self,
        on_evaluation: Callable[[Evaluation, list[Evaluation]], object] = lambda evaluation, history: None,
        on_step: Callable[[float], object] = lambda fraction_done: None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        elapsed: float = 0.0,
        saving: float = 0.0,
        on_last_evaluation: Callable[[int], object] = lambda tokens: None,
    ) -> TrainingResult:
        """Trains until the budget is used up or the user presses Ctrl-C, and keeps the best weights.

        With a budget of minutes, it ends early when more training makes the model worse (`is_overfitting`): it goes
        back to the best weights, and the learning rate falls from there in half of the time that they took.

        Args:
            on_evaluation: called with every `Evaluation` and the list of all so far, which ends with it.
            on_step: called after every step with the fraction of the budget that is done.
            callbacks: further Keras callbacks. A `tfcharlm.Checkpoint` saves the run from time to time, and resumes it.
            elapsed: seconds that the process has already run. They are subtracted from a budget of minutes, but at most
                half of it is.
            saving: seconds of a budget of minutes to leave for saving the model, such as `plan.saving`; 0 by default.
            on_last_evaluation: called before the last evaluation with the number of held-out tokens that it reads. They
                are all, unless the evaluation would take more than a tenth of the minutes.

        Returns:
            A `TrainingResult`.

        Raises:
            TrainingDivergedError: the loss is not finite any more, and was not in any evaluation.
            CheckpointError: the saved run is another one, or its checkpoints are damaged.
        """
        self.running_budget = budget = self.budget()
        all_gather = self.model.replicas.all_gather
        if budget.seconds is not None:
            budget.resume(all_gather(min(elapsed, budget.seconds / 2))[0])
        chunks, all_chunks = (int(data.cardinality()) for data in (self.evaluation_data, self.validation_data))
        options: dict[str, Any] = {"timing": self.plan.timing, "fits_temperature": self.config.fit_temperature}
        reserve = EndReserve(budget, chunks, all_chunks, saving, all_gather=all_gather, **options)
        for checkpoint in (callback for callback in callbacks if isinstance(callback, Checkpoint)):
            # The held-out text must be the same, because it chooses the best weights.
            held_out = {"held_out_sha256": self.split.validation.sha256}
            origin = {"from": self.began_from} if self.began_from else {}
            checkpoint.settings = dataclasses.asdict(self.config) | held_out | origin
        # Who gives steps or epochs wants to have them all.
        options = {"on_step": on_step, "ends_early": budget.seconds is not None, "reserve": reserve}
        evaluations, interruption = self.fit(budget, on_evaluation, callbacks, **options)
        return last_evaluation(self, evaluations, interruption, reserve.last_chunks(), on_last_evaluation)

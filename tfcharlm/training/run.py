"""A training run: text, model, schedule and budget in one place, for the command line and the searches."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checkpoint import Checkpoint
from tfcharlm.model import CharLM, NonFiniteError, Replicas, WorkerLostError
from tfcharlm.text import TextSplit
from tfcharlm.training.build import build_model
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.evaluation import Evaluation, PeriodicEvaluation
from tfcharlm.training.lines import suggested_items
from tfcharlm.training.result import TrainingDivergedError, TrainingResult
from tfcharlm.training.schedule import AnnealLearningRate, Budget
from tfcharlm.training.sizing import SHAPE, SUGGESTED, measured_speed, suggest_config

# An evaluation reads this many chunks of the held-out text, which takes about a second.
EVALUATION_CHUNKS = 24
# Twelve points make a curve. If they were less than ten seconds apart, evaluations would take too much of the time.
NUM_EVALUATIONS, SECONDS_BETWEEN_EVALUATIONS = 12, 10
# What ends a run before its budget is used up.
INTERRUPTIONS = (KeyboardInterrupt, WorkerLostError, NonFiniteError)


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
            held_out = split.validation.num_tokens
            total = held_out + split.train.num_tokens
            raise ValueError(f"{held_out:,} of {total:,} tokens are held out; to train on, {error}") from error
        self.validation_data = split.validation_dataset(**chunk)
        # Enough to tell which of two evaluations is better; all of the text, twelve times, would take too long.
        first = EVALUATION_CHUNKS * config.batch_size * config.sequence_length
        self.evaluation_data = split.validation_dataset(**chunk, tokens=first)
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
    ) -> "TrainingRun":
        """Makes a run of some minutes, with the size and the regularization that `suggest_config` finds for them.

        Args:
            split: a `TextSplit`.
            given: arguments of `TrainingConfig`, including `minutes`. They override what is suggested.
            strategy: as for `TrainingRun`. The speeds of all its workers are added.
            earlier: the property `suggested` of the run that this one resumes, so that the sizes are the same; None
                (default) for a new run. The speed of the machine is measured anyway, because all workers must take
                part.

        Returns:
            A `TrainingRun`.

        Raises:
            ValueError: `minutes` are not given, or another argument is out of bounds.
        """
        return cls(split, cls.suggested_config(split, given, strategy, earlier), strategy=strategy)

    @staticmethod
    def suggested_config(
        split: TextSplit,
        given: Mapping[str, Any],
        strategy: tf.distribute.Strategy | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> TrainingConfig:
        """The configuration of such a run. The arguments are those of `with_suggested_size`."""
        minutes = TrainingConfig(**given).minutes
        if minutes is None:
            raise ValueError(f"a size is suggested for minutes, such as minutes=2; received {dict(given)}.")
        with (strategy or tf.distribute.get_strategy()).scope():
            speed = sum(Replicas().all_gather(measured_speed()))
        shape = {name: given[name] for name in SHAPE if name in given}
        sizes = {"tokens": split.train.num_tokens, "vocabulary_size": len(split.vocabulary)}
        suggested = earlier or suggest_config(60 * minutes, speed, **sizes, characters=split.train_characters, **shape)
        if split.kind == "lines" and earlier is None:
            rows = suggested_items(split.train, suggested["batch_size"], suggested["sequence_length"])
            suggested = {**suggested, "batch_size": rows}
        return TrainingConfig(**{**suggested, **given})

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
            ends_early: whether to end as soon as `is_overfitting` says so. False by default.

        Returns:
            `(evaluations, interruption)`: the `PeriodicEvaluation`, with the learning curve and the best weights; and
            what ended the run early, a KeyboardInterrupt, a `WorkerLostError` or a `NonFiniteError`, or None.
        """
        config = self.config
        if num_evaluations is None:
            most = NUM_EVALUATIONS if budget.seconds is None else int(budget.seconds // SECONDS_BETWEEN_EVALUATIONS)
            num_evaluations = max(1, min(NUM_EVALUATIONS, most))
        # Documents and lines have padding.
        tokens_per_step = config.batch_size * config.sequence_length if self.split.kind == "stream" else None
        data = self.evaluation_data if evaluation_data is None else evaluation_data
        pauses = pause_clock_during_evaluation
        evaluations = PeriodicEvaluation(
            data, budget, tokens_per_step, num_evaluations, on_evaluation, pauses, self.start, ends_early
        )
        anneal = AnnealLearningRate(config.learning_rate, budget, config.schedule, on_step)
        # To Keras the run is one epoch, which the budget ends. The epochs over the text are inside the data set.
        endless = None if config.epochs is not None else 10**9
        try:
            given = {"shuffle": False, "verbose": 0, "callbacks": [anneal, evaluations, *callbacks]}
            self.model.fit(self.train_data, steps_per_epoch=endless, **given)
        except INTERRUPTIONS as error:
            return evaluations, error
        return evaluations, None

    def train(
        self,
        on_evaluation: Callable[[Evaluation, list[Evaluation]], object] = lambda evaluation, history: None,
        on_step: Callable[[float], object] = lambda fraction_done: None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        elapsed: float = 0.0,
    ) -> TrainingResult:
        """Trains until the budget is used up or the user presses Ctrl-C, and keeps the best weights.

        With a budget of minutes, it also ends when more training makes the model worse (`is_overfitting`).

        Args:
            on_evaluation: called with every `Evaluation` and the list of all so far, which ends with it.
            on_step: called after every step with the fraction of the budget that is done.
            callbacks: further Keras callbacks. A `tfcharlm.Checkpoint` saves the run from time to time, and resumes it.
            elapsed: seconds that the process has already run. They are subtracted from a budget of minutes, but at most
                half of it is.

        Returns:
            A `TrainingResult`.

        Raises:
            TrainingDivergedError: the loss is not finite any more, and was not in any evaluation.
            CheckpointError: the saved run is another one, or its checkpoints are damaged.
        """
        budget = self.budget()
        if budget.seconds is not None:
            budget.resume(self.model.replicas.all_gather(min(elapsed, budget.seconds / 2))[0])
        for checkpoint in (callback for callback in callbacks if isinstance(callback, Checkpoint)):
            # The held-out text must be the same, because it chooses the best weights.
            held_out = {"held_out_sha256": self.split.validation.sha256}
            origin = {"from": self.began_from} if self.began_from else {}
            checkpoint.settings = dataclasses.asdict(self.config) | held_out | origin
        # Who gives steps or epochs wants to have them all.
        ends_early = budget.seconds is not None
        evaluations, interruption = self.fit(budget, on_evaluation, callbacks, on_step=on_step, ends_early=ends_early)
        evaluations.restore_best_weights()
        measured: dict[str, float] = {}
        try:
            if interruption is None:
                measured = self.model.evaluate(self.validation_data, verbose=0, return_dict=True)
        except INTERRUPTIONS as error:
            interruption = error
        diverged = isinstance(interruption, NonFiniteError) or not math.isfinite(measured.get("loss", 0))
        if diverged and evaluations.best_weights is None:
            raise TrainingDivergedError.after(evaluations.steps + 1, self.config, interruption) from interruption
        return TrainingResult.of(self.model, evaluations, measured, interruption)

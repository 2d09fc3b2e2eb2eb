"""A run: text, model, schedule and budget in one place, for the command line and the searches."""

import contextlib
import dataclasses
import math

import tensorflow as tf

from tfcharlm.checkpoint import Checkpoint
from tfcharlm.model import CharLM, NonFiniteError, Replicas, WorkerLostError
from tfcharlm.text import sha256_of, stream_dataset
from tfcharlm.training.build import build_model
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.evaluation import PeriodicEvaluation
from tfcharlm.training.schedule import AnnealLearningRate, Budget
from tfcharlm.training.sizing import SHAPE, SUGGESTED, measured_speed, suggest_config

# Chunks of held-out text that an evaluation reads; it takes about a second.
EVALUATION_CHUNKS = 24
# Twelve make a curve; closer together than ten seconds they would take the time that they measure.
NUM_EVALUATIONS, SECONDS_BETWEEN_EVALUATIONS = 12, 10
# What ends a run before its budget does.
ENDS = (KeyboardInterrupt, WorkerLostError, NonFiniteError)


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The model with its best weights, the learning curve, and the loss on all of the held-out text.

    `val_loss` is in nats per token, None if the run was interrupted before it was measured. `steps` counts batches.
    `failure` is a line if a lost worker or numbers that are not finite ended the run, which interrupts it as well.
    """

    model: CharLM
    history: tuple
    steps: int
    val_loss: float | None
    val_bits_per_character: float | None
    interrupted: bool
    failure: str | None = None


class TrainingDivergedError(ArithmeticError):
    """There are no weights worth keeping."""


class TrainingRun:
    """Text, model, schedule and budget. Whatever can be wrong with them is found here, before training.

    Args:
        split: a `TextSplit`. Its last part is held out and never trained on.
        config: a `TrainingConfig`.
        model: what to train; None makes the model that `config` describes.
        strategy: a `tf.distribute` strategy, under which to make the model. Every worker has a run of its own, with the
            same text.

    Raises:
        ValueError: the text is too short for a batch of sequences.

    Example:

    >>> from tfcharlm.text import TextSplit
    >>> from tfcharlm.training import TrainingConfig, TrainingRun
    >>> config = TrainingConfig(epochs=2, units=8, batch_size=4, sequence_length=16)
    >>> run = TrainingRun(TextSplit.from_text("to be or not to be\\n" * 100), config)
    >>> result = run.train()
    >>> result.history[-1].step, result.history[-1].learning_rate < 1e-3
    (52, True)
    """

    def __init__(self, split, config, model=None, strategy=None):
        self.split, self.config = split, config
        chunk = {"batch_size": config.batch_size, "sequence_length": config.sequence_length}
        try:
            self.train_data = stream_dataset(
                split.train_ids,
                **chunk,
                seed=config.seed,
                epochs=config.epochs,
                state_reset_probability=config.state_reset_probability,
                random_start=config.random_start,
            )
        except ValueError as error:
            held_out, total = len(split.validation_ids), len(split.train_ids) + len(split.validation_ids)
            raise ValueError(f"{held_out:,} of {total:,} tokens are held out; to train on, {error}") from error
        self.validation_data = stream_dataset(split.validation_ids, **chunk, drop_remainder=False)
        # Enough to see which of two evaluations is better; all of it, twelve times, would cost more than it tells.
        some = EVALUATION_CHUNKS * config.batch_size * config.sequence_length
        self.evaluation_data = stream_dataset(split.validation_ids[:some], **chunk, drop_remainder=False)
        if model is None:
            with contextlib.nullcontext() if strategy is None else strategy.scope():
                model = build_model(split, config)
        self.model = model

    @classmethod
    def with_suggested_size(cls, split, given, strategy=None, earlier=None):
        """Makes a run of a number of minutes, with the size and the regularization that suit them.

        Args:
            split: a `TextSplit`.
            given: arguments of `TrainingConfig`, `minutes` among them; they override what is suggested.
            strategy: as for `TrainingRun`; the speed of all its workers counts.
            earlier: None, or what was suggested to the run that this one continues, by name. The speed of the machine is
                measured anyway, because all workers must take part.

        Returns:
            A `TrainingRun`.
        """
        strategy = tf.distribute.get_strategy() if strategy is None else strategy
        with strategy.scope():
            speed = sum(Replicas().all_gather(measured_speed()))
        seconds = 60 * TrainingConfig(**given).minutes
        shape = {name: given[name] for name in SHAPE if name in given}
        sizes = {"tokens": len(split.train_ids), "vocabulary_size": len(split.vocabulary)}
        suggested = earlier or suggest_config(seconds, speed, **sizes, characters=split.train_characters, **shape)
        return cls(split, TrainingConfig(**suggested | given), strategy=strategy)

    @property
    def suggested(self):
        """The values of the options that `suggest_config` chooses, by name."""
        return {name: getattr(self.config, name) for name in SUGGESTED}

    def budget(self, fraction=1.0):
        """A `Budget` of a fraction of what the configuration grants; its clock starts now."""
        seconds = None if self.config.minutes is None else self.config.minutes * 60 * fraction
        steps = self.config.steps if self.config.epochs is None else int(self.train_data.cardinality())
        steps = None if steps is None else max(1, round(steps * fraction))
        return Budget(seconds, steps, clock=self.model.replicas.clock)

    def fit(
        self,
        budget,
        on_evaluation=lambda evaluation, history: None,
        callbacks=(),
        num_evaluations=None,
        evaluation_data=None,
        pause_clock_during_evaluation=False,
        on_step=lambda fraction_done: None,
    ):
        """Trains until the budget is used up, or a callback sets `model.stop_training`.

        Args:
            budget: a `Budget`.
            on_evaluation: called with every `Evaluation` and the history that ends with it.
            callbacks: of Keras; an epoch for them is the whole run.
            num_evaluations: how many; None makes it twelve, or fewer in a short run.
            evaluation_data: what they evaluate on; None takes the beginning of the held-out text.
            pause_clock_during_evaluation: whether evaluations cost nothing of a budget of minutes.
            on_step: called with the fraction of the budget that is done, after every step.

        Returns:
            The `PeriodicEvaluation`, with history and best weights; and what ended it early: a KeyboardInterrupt, a
            `WorkerLostError`, a `NonFiniteError`, or None.
        """
        config = self.config
        if num_evaluations is None:
            most = NUM_EVALUATIONS if budget.seconds is None else int(budget.seconds // SECONDS_BETWEEN_EVALUATIONS)
            num_evaluations = max(1, min(NUM_EVALUATIONS, most))
        tokens_per_step = config.batch_size * config.sequence_length
        evaluations = PeriodicEvaluation(
            self.evaluation_data if evaluation_data is None else evaluation_data,
            budget,
            tokens_per_step,
            num_evaluations,
            on_evaluation,
            pause_clock_during_evaluation,
        )
        callbacks = [
            AnnealLearningRate(config.learning_rate, budget, config.schedule, on_step),
            evaluations,
            *callbacks,
        ]
        # One epoch for Keras: the budget ends it, and the epochs over the text are inside the data set.
        endless = None if config.epochs is not None else 10**9
        try:
            self.model.fit(self.train_data, steps_per_epoch=endless, shuffle=False, verbose=0, callbacks=callbacks)
        except ENDS as error:
            return evaluations, error
        return evaluations, None

    def train(
        self,
        on_evaluation=lambda evaluation, history: None,
        on_step=lambda fraction_done: None,
        callbacks=(),
        elapsed=0.0,
    ):
        """Trains until the budget is used up or the user interrupts, and keeps the best weights.

        Args:
            on_evaluation: called with every `Evaluation` and the history that ends with it.
            on_step: called with the fraction of the budget that is done, after every step.
            callbacks: of Keras; with a `tfcharlm.Checkpoint` the run is saved from time to time, or continues.
            elapsed: seconds for which the process has run; they are taken from a budget of minutes, half of it at most.

        Returns:
            A `TrainingResult`.

        Raises:
            TrainingDivergedError: the loss is no number any more, and no evaluation had a finite one.
            CheckpointError: the run that was saved is another one, or cannot be read.
        """
        budget = self.budget()
        if budget.seconds is not None:
            budget.resume(self.model.replicas.all_gather(min(elapsed, budget.seconds / 2))[0])
        for checkpoint in (callback for callback in callbacks if isinstance(callback, Checkpoint)):
            # The best weights are chosen by the text that is held out.
            held_out = {"held_out_sha256": sha256_of([self.split.validation_ids])}
            checkpoint.settings = dataclasses.asdict(self.config) | held_out
        evaluations, ended = self.fit(budget, on_evaluation, callbacks, on_step=on_step)
        evaluations.restore_best_weights()
        measured = {}
        try:
            if ended is None:
                measured = self.model.evaluate(self.validation_data, verbose=0, return_dict=True)
        except ENDS as error:
            ended = error
        diverged = isinstance(ended, NonFiniteError) or not math.isfinite(measured.get("loss", 0))
        if diverged and evaluations.best_weights is None:
            rate = self.config.learning_rate
            raise TrainingDivergedError(
                f"the training diverged within {evaluations.steps + 1} batches; give a lower learning_rate than "
                f"{rate:g}, such as learning_rate={rate / 4:g}." + (f" It ended at {ended}" if ended else "")
            ) from ended
        return TrainingResult(
            model=self.model,
            history=tuple(evaluations.history),
            steps=evaluations.steps,
            val_loss=measured.get("loss"),
            val_bits_per_character=measured.get("bits_per_character"),
            interrupted=ended is not None,
            failure=str(ended) if isinstance(ended, (WorkerLostError, NonFiniteError)) else None,
        )

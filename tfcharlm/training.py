"""A run: corpus, model, schedule and budget in one place, for the command line and the searches."""

import contextlib
import dataclasses
import math

from tfcharlm.callbacks import AnnealLearningRate, Budget, Reporter
from tfcharlm.checkpoint import Checkpoint
from tfcharlm.distributed import WorkerLostError
from tfcharlm.guard import NonFiniteError
from tfcharlm.model import CharLM
from tfcharlm.recipe import Corpus, make_model
from tfcharlm.text import stream_dataset
from tfcharlm.text.batches import sha256_of

# Chunks of held-out text that a report evaluates; a report costs about a second.
REPORT_CHUNKS = 24
# Twelve make a curve; closer together than ten seconds they would take the time that they report on.
REPORTS, SECONDS_BETWEEN_REPORTS = 12, 10
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
    """Corpus, model, schedule and budget. What can be wrong is found here, before training.

    Args:
        text: the corpus, or a `Corpus` of it. Its last part is held out and never trained on.
        config: a `TrainingConfig`.
        model: what to train; None makes the model that `config` describes.
        strategy: of `tf.distribute`, under which to make it. Every worker has a run of its own, with the same text.

    Raises:
        ValueError: the text is too short for a batch of sequences.

    Example:

    >>> config = TrainingConfig(epochs=2, units=8, batch_size=4, sequence_length=16)
    >>> run = TrainingRun("to be or not to be\\n" * 100, config)
    >>> result = run.train()
    >>> result.history[-1].step, result.history[-1].learning_rate < 1e-3
    (52, True)
    """

    def __init__(self, text, config, model=None, strategy=None):
        self.config = config
        if isinstance(text, str):
            text = Corpus.split(text, config.level, config.validation_fraction)
        self.corpus = text
        chunk = {"batch_size": config.batch_size, "sequence_length": config.sequence_length}
        train_ids, validation_ids = text.train_ids, text.validation_ids
        try:
            self.train_data = stream_dataset(
                train_ids,
                **chunk,
                seed=config.seed,
                passes=config.epochs,
                reset_rate=config.reset_rate,
                random_offset=config.random_offset,
            )
        except ValueError as error:
            held_out, total = len(validation_ids), len(train_ids) + len(validation_ids)
            raise ValueError(f"{held_out:,} of {total:,} tokens are held out; to train on, {error}") from error
        self.validation_data = stream_dataset(validation_ids, **chunk, drop_remainder=False)
        # Enough to see which of two reports is better; all of it, twelve times, would cost more than it tells.
        some = REPORT_CHUNKS * config.batch_size * config.sequence_length
        self.report_data = stream_dataset(validation_ids[:some], **chunk, drop_remainder=False)
        if model is None:
            with contextlib.nullcontext() if strategy is None else strategy.scope():
                model = make_model(text, config)
        self.model = model

    def budget(self, share=1.0):
        """A `Budget` of a share of what the configuration grants; its clock starts now."""
        seconds = None if self.config.minutes is None else self.config.minutes * 60 * share
        steps = self.config.steps if self.config.epochs is None else int(self.train_data.cardinality())
        steps = None if steps is None else max(1, round(steps * share))
        return Budget(seconds, steps, clock=self.model.replicas.clock)

    def fit(
        self,
        budget,
        on_report=lambda report, history: None,
        callbacks=(),
        reports=None,
        report_data=None,
        free=False,
        on_step=lambda spent: None,
    ):
        """Trains until the budget is spent, or a callback sets `model.stop_training`.

        Args:
            budget: a `Budget`.
            on_report: called with every `Report` and the history that ends with it.
            callbacks: of Keras; an epoch for them is the whole run.
            reports: how many; None makes it a dozen, or fewer in a short run.
            report_data: what they evaluate; None takes the beginning of the held-out text.
            free: whether reports cost nothing of a budget of minutes.
            on_step: called with the share of the budget that is spent, after every step.

        Returns:
            The `Reporter`, with history and best weights; and what ended it early: a KeyboardInterrupt, a
            `WorkerLostError`, a `NonFiniteError`, or None.
        """
        config = self.config
        if reports is None:
            most = REPORTS if budget.seconds is None else int(budget.seconds // SECONDS_BETWEEN_REPORTS)
            reports = max(1, min(REPORTS, most))
        tokens_per_step = config.batch_size * config.sequence_length
        report_data = self.report_data if report_data is None else report_data
        reporter = Reporter(report_data, budget, tokens_per_step, reports, on_report, free)
        callbacks = [AnnealLearningRate(config.learning_rate, budget, config.schedule, on_step), reporter, *callbacks]
        # One epoch for Keras: the budget ends it, and the passes over the text are inside the data set.
        endless = None if config.epochs is not None else 10**9
        try:
            self.model.fit(self.train_data, steps_per_epoch=endless, shuffle=False, verbose=0, callbacks=callbacks)
        except ENDS as error:
            return reporter, error
        return reporter, None

    def train(self, on_report=lambda report, history: None, on_step=lambda spent: None, callbacks=(), elapsed=0.0):
        """Trains until the budget is spent or the user interrupts, and keeps the best weights.

        Args:
            on_report: called with every `Report` and the history that ends with it.
            on_step: called with the share of the budget that is spent, after every step.
            callbacks: of Keras; with a `tfcharlm.Checkpoint` the run is saved from time to time, or goes on.
            elapsed: seconds for which the process has run; they are taken from a budget of minutes, half of it at most.

        Returns:
            A `TrainingResult`.

        Raises:
            TrainingDivergedError: the loss is no number any more, and no report had a finite one.
            CheckpointError: the run that was saved is another one, or cannot be read.
        """
        budget = self.budget()
        if budget.seconds is not None:
            budget.go_on(self.model.replicas.of_all_workers(min(elapsed, budget.seconds / 2))[0])
        for checkpoint in (callback for callback in callbacks if isinstance(callback, Checkpoint)):
            # The best weights are chosen by the text that is held out.
            held_out = {"held_out_sha256": sha256_of([self.corpus.validation_ids])}
            checkpoint.settings = dataclasses.asdict(self.config) | held_out
        reporter, ended = self.fit(budget, on_report, callbacks, on_step=on_step)
        reporter.restore_best_weights()
        measured = {}
        try:
            if ended is None:
                measured = self.model.evaluate(self.validation_data, verbose=0, return_dict=True)
        except ENDS as error:
            ended = error
        diverged = isinstance(ended, NonFiniteError) or not math.isfinite(measured.get("loss", 0))
        if diverged and reporter.best_weights is None:
            rate = self.config.learning_rate
            raise TrainingDivergedError(
                f"the training diverged within {reporter.steps + 1} batches; give a lower learning_rate than "
                f"{rate:g}, such as learning_rate={rate / 4:g}." + (f" It ended at {ended}" if ended else "")
            ) from ended
        return TrainingResult(
            model=self.model,
            history=tuple(reporter.history),
            steps=reporter.steps,
            val_loss=measured.get("loss"),
            val_bits_per_character=measured.get("bits_per_character"),
            interrupted=ended is not None,
            failure=str(ended) if isinstance(ended, (WorkerLostError, NonFiniteError)) else None,
        )

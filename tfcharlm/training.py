"""A run: corpus, split, model, schedule and budget in one place, for the command line and the searches."""

import dataclasses

import keras
import numpy as np

from tfcharlm.callbacks import AnnealLearningRate, Budget, Reporter
from tfcharlm.layers import LSTMCell, RNNCell
from tfcharlm.model import CharLM
from tfcharlm.text import Vocabulary, stream_dataset

# Chunks of held-out text that a report evaluates; a report costs about a second.
REPORT_CHUNKS = 24
# Twelve make a curve; closer together than ten seconds they would take the time that they report on.
REPORTS, SECONDS_BETWEEN_REPORTS = 12, 10
CELLS = {"lstm": LSTMCell, "rnn": RNNCell}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What a run is made of; the defaults suit a few minutes on two cores.

    Args:
        minutes: time to train; the learning rate reaches its end when it is over. Either this or `epochs`.
        epochs: passes over the training text.
        level: what a token is: "char", "byte" or "word".
        cell: "lstm" or "rnn".
        units: size of each recurrent layer.
        layers: number of recurrent layers.
        embedding_dim: length of a token's vector.
        batch_size: number of parallel streams.
        sequence_length: tokens in a chunk; gradients reach back that far at most.
        learning_rate: the highest value of the schedule, for Adam. 0.008 lies between the two best
            of those tried (docs/architecture.md).
        clip_norm: limit of the gradients' global norm; 1 keeps rare steep steps from undoing many others
            (Pascanu et al. 2013).
        validation_fraction: the last part of the text, held out.
        seed: of the initial weights and of the place where each pass over the text begins; 0 to 2^32 - 1.
    """

    minutes: float | None = None
    epochs: int | None = None
    level: str = "char"
    cell: str = "lstm"
    units: int = 256
    layers: int = 1
    embedding_dim: int = 64
    batch_size: int = 64
    sequence_length: int = 64
    learning_rate: float = 8e-3
    clip_norm: float = 1.0
    validation_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self):
        if (self.minutes is None) == (self.epochs is None):
            raise ValueError(
                "give either minutes or epochs, such as minutes=2; "
                f"received minutes={self.minutes}, epochs={self.epochs}."
            )
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}; received {self.cell!r}.")
        positive = ("minutes", "epochs", "units", "layers", "embedding_dim", "batch_size", "sequence_length")
        for name in (*positive, "learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 2**31:
                raise ValueError(f"{name} must be a number above 0 and below 2147483648; received {value!r}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1; received {self.validation_fraction!r}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be a whole number from 0 to 4294967295; received {self.seed!r}.")


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """The model with its best weights, the learning curve, and the loss on all of the held-out text.

    `val_loss` is in nats per token, None if the run was interrupted before it was measured. `steps` counts updates.
    """

    model: CharLM
    history: tuple
    steps: int
    val_loss: float | None
    val_bits_per_character: float | None
    interrupted: bool


class TrainingDivergedError(ArithmeticError):
    """There are no weights worth keeping."""


class TrainingRun:
    """Corpus, split, model, schedule and budget. What can be wrong is found here, before training.

    Args:
        text: the corpus. Its last part is held out and never trained on; its characters are in the vocabulary all the
            same, so that every one of them can be scored.
        config: a `TrainingConfig`.

    Raises:
        ValueError: the text is too short for a batch of sequences.

    Example:

    >>> config = TrainingConfig(epochs=2, units=8, batch_size=4, sequence_length=16)
    >>> run = TrainingRun("to be or not to be\\n" * 100, config)
    >>> result = run.train()
    >>> result.history[-1].step, result.history[-1].learning_rate < 1e-3
    (52, True)
    """

    def __init__(self, text, config):
        self.config = config
        keras.utils.set_random_seed(config.seed)
        vocabulary = Vocabulary.from_text(text, level=config.level)
        ids = vocabulary.encode(text)
        held_out = max(2, round(len(ids) * config.validation_fraction))
        self.train_ids, self.validation_ids = ids[:-held_out], ids[-held_out:]
        chunk = {"batch_size": config.batch_size, "sequence_length": config.sequence_length}
        try:
            self.train_data = stream_dataset(self.train_ids, **chunk, seed=config.seed, passes=config.epochs)
        except ValueError as error:
            raise ValueError(f"{held_out:,} of {len(ids):,} tokens are held out; to train on, {error}") from error
        self.validation_data = stream_dataset(self.validation_ids, **chunk, drop_remainder=False)
        # Enough to see which of two reports is better; all of it, twelve times, would cost more than it tells.
        some = REPORT_CHUNKS * config.batch_size * config.sequence_length
        self.report_data = stream_dataset(self.validation_ids[:some], **chunk, drop_remainder=False)
        cell = CELLS[config.cell]
        self.model = CharLM(vocabulary, [cell(config.units) for _ in range(config.layers)], config.embedding_dim)
        # The softmax starts from the frequencies of the symbols: no update is spent on learning them, and no state on
        # keeping the rare ones down.
        self.model.head.bias.assign(log_frequencies(self.train_ids, len(vocabulary)))
        self.model.compile(keras.optimizers.Adam(config.learning_rate, global_clipnorm=config.clip_norm))

    def train(self, on_report=lambda report, history: None, on_step=lambda spent: None):
        """Trains until the budget is spent or the user interrupts, and keeps the best weights.

        Args:
            on_report: called with every `Report` and the history that ends with it.
            on_step: called with the share of the budget that is spent, after every step.

        Returns:
            A `TrainingResult`.

        Raises:
            TrainingDivergedError: the loss is no number any more, and no report had a finite one.
        """
        config = self.config
        seconds = None if config.minutes is None else config.minutes * 60
        steps = None if config.epochs is None else int(self.train_data.cardinality())
        budget = Budget(seconds, steps)
        reports = REPORTS if seconds is None else max(1, min(REPORTS, int(seconds // SECONDS_BETWEEN_REPORTS)))
        reporter = Reporter(self.report_data, budget, config.batch_size * config.sequence_length, reports, on_report)
        callbacks = [
            AnnealLearningRate(config.learning_rate, budget),
            reporter,
            keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: on_step(budget.spent(step + 1))),
        ]
        measured, interrupted = {}, False
        try:
            # One epoch for Keras: the budget ends it, and the passes over the text are inside the data set.
            endless = 10**9 if steps is None else None
            self.model.fit(self.train_data, steps_per_epoch=endless, shuffle=False, verbose=0, callbacks=callbacks)
            reporter.restore_best_weights()
            measured = self.model.evaluate(self.validation_data, verbose=0, return_dict=True)
        except KeyboardInterrupt:
            interrupted = True
            reporter.restore_best_weights()
        if not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            raise TrainingDivergedError(
                f"the training diverged within {reporter.steps} steps; give a lower learning_rate than "
                f"{config.learning_rate:g}, such as learning_rate={config.learning_rate / 4:g}."
            )
        return TrainingResult(
            model=self.model,
            history=tuple(reporter.history),
            steps=reporter.steps,
            val_loss=measured.get("loss"),
            val_bits_per_character=measured.get("bits_per_character"),
            interrupted=interrupted,
        )


def log_frequencies(ids, size):
    r"""The logarithm of every id's relative frequency, each counted once more than it occurs.

    $$ \log \frac{n_i + 1}{\sum_j (n_j + 1)} $$

    Args:
        ids: integers (length,) in [0, size).
        size: number of different ids.

    Returns:
        float64 (size,).

    Example:

    >>> np.exp(log_frequencies([0, 0, 1], size=3)).round(3)
    array([0.5  , 0.333, 0.167])

    Reference: Laplace's rule of succession.
    """
    counts = np.bincount(ids, minlength=size) + 1
    return np.log(counts / counts.sum())

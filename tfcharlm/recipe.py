"""What a run is made of: the numbers that describe it, a text cut in two, the model."""

import dataclasses
from typing import NamedTuple

import keras
import numpy as np

from tfcharlm.callbacks import SCHEDULES
from tfcharlm.layers import LSTMCell, RNNCell
from tfcharlm.model import CharLM
from tfcharlm.text import Vocabulary

CELLS = {"lstm": LSTMCell, "rnn": RNNCell}
BUDGETS = ("minutes", "epochs", "steps")
SHARES = ("dropout", "input_dropout", "weight_drop", "reset_rate", "weight_decay", "ema_momentum")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What a run is made of; the defaults suit a minute and a half on two cores. `tfcharlm.suited.suited` finds others.

    Args:
        minutes: time to train; the learning rate reaches its end when it is over. Either this, or `epochs` or `steps`.
        epochs: passes over the training text.
        steps: updates of the weights.
        level: what a token is: "char", "byte" or "word".
        cell: "lstm" or "rnn".
        units: size of each recurrent layer.
        layers: number of recurrent layers.
        embedding_dim: length of a token's vector.
        skip_connections: whether upper layers read the tokens, too, and the head all layers.
        cap_input_gate: whether an LSTM's input gate is at most 1 - f.
        dropout: share of the layers' outputs that a row does without for a chunk; 0, for it harms in a few passes.
        input_dropout: the same for the numbers of the tokens' vectors.
        weight_drop: share of the recurrent weights that a chunk does without.
        batch_size: number of parallel streams.
        sequence_length: tokens in a chunk; gradients reach back that far at most.
        reset_rate: share of the chunks that begin with a zero state although the text goes on.
        learning_rate: the highest value of the schedule, for Adam. 0.012 and 0.02 were better than 0.008 for 256 units;
            `suited` gives wider layers less (docs/recipe.md).
        schedule: how the learning rate falls after a short warm-up: "cosine", "linear", both to 0, or "constant", not
            at all.
        clip_norm: limit of the gradients' global norm; 1 keeps rare steep steps from undoing many others
            (Pascanu et al. 2013).
        weight_decay: what a matrix loses of itself in a step, times the learning rate (Loshchilov & Hutter 2019);
            biases lose nothing. What ten minutes lose without it is in the README.
        ema_momentum: of the average of the weights that reports evaluate and that is exported; 0 for no average.
        frequency_bias: whether the softmax starts from the frequencies of the tokens: no update is spent on learning
            them, and no state on keeping the rare ones down. If not, from zeros.
        random_offset: whether a pass over the text begins at a place of its own, so that windows differ.
        validation_fraction: the last part of the text, held out.
        seed: of the initial weights and of the place where each pass over the text begins; 0 to 2^32 - 1.
    """

    minutes: float | None = None
    epochs: int | None = None
    steps: int | None = None
    level: str = "char"
    cell: str = "lstm"
    units: int = 256
    layers: int = 1
    embedding_dim: int = 64
    skip_connections: bool = False
    cap_input_gate: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    weight_drop: float = 0.0
    batch_size: int = 64
    sequence_length: int = 64
    reset_rate: float = 0.0
    learning_rate: float = 0.012
    schedule: str = "cosine"
    clip_norm: float = 1.0
    weight_decay: float = 0.1
    ema_momentum: float = 0.0
    frequency_bias: bool = True
    random_offset: bool = True
    validation_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self):
        budgets = [f"{name}={getattr(self, name)}" for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) != 1:
            received = ", ".join(budgets) or "none of them"
            raise ValueError(f"give one of minutes, epochs or steps, such as minutes=2; received {received}.")
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}; received {self.cell!r}.")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; received {self.schedule!r}.")
        positive = (*BUDGETS, "units", "layers", "embedding_dim", "batch_size", "sequence_length")
        for name in (*positive, "learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 2**31:
                raise ValueError(f"{name} must be a number above 0 and below 2147483648; received {value!r}.")
        for name in SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be a number from 0 to below 1; received {getattr(self, name)!r}.")
        if self.cap_input_gate and self.cell != "lstm":
            raise ValueError(f"cap_input_gate is of an LSTM's input gate; received cell={self.cell!r}.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1; received {self.validation_fraction!r}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be a whole number from 0 to 4294967295; received {self.seed!r}.")


class Corpus(NamedTuple):
    """A text as ids, its last part held out."""

    vocabulary: Vocabulary
    train_ids: np.ndarray
    validation_ids: np.ndarray

    @classmethod
    def split(cls, text, level="char", validation_fraction=0.1):
        """Cuts a text in two. The characters of both parts are in the vocabulary, so that all can be scored.

        Example:

        >>> corpus = Corpus.split("to be or not to be", validation_fraction=0.25)
        >>> corpus.vocabulary.decode(corpus.train_ids), corpus.vocabulary.decode(corpus.validation_ids)
        ('to be or not ', 'to be')
        """
        vocabulary = Vocabulary.from_text(text, level=level)
        ids = vocabulary.encode(text)
        trained_on = min(int(len(ids) * (1 - validation_fraction)), len(ids) - 2)
        return cls(vocabulary, ids[:trained_on], ids[trained_on:])


def make_model(corpus, config):
    """The model that a `TrainingConfig` describes, compiled, its weights drawn from the seed."""
    keras.utils.set_random_seed(config.seed)
    capped = {"cap_input_gate": config.cap_input_gate} if config.cell == "lstm" else {}
    model = CharLM(
        corpus.vocabulary,
        cells=[CELLS[config.cell](config.units, **capped) for _ in range(config.layers)],
        embedding_dim=config.embedding_dim,
        dropout=config.dropout,
        dropout_seed=config.seed,
        input_dropout=config.input_dropout,
        weight_drop=config.weight_drop,
        skip_connections=config.skip_connections,
    )
    if config.frequency_bias:
        model.head.bias.assign(log_frequencies(corpus.train_ids, len(corpus.vocabulary)))
    model.compile(make_optimizer(config))
    return model


def make_optimizer(config):
    """Adam, or AdamW, of a `TrainingConfig`."""
    shared = {"global_clipnorm": config.clip_norm}
    if config.ema_momentum:
        shared |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    if not config.weight_decay:
        return keras.optimizers.Adam(config.learning_rate, **shared)
    optimizer = keras.optimizers.AdamW(config.learning_rate, config.weight_decay, **shared)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


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
    # In parts, because NumPy makes 8 bytes of every id.
    parts = np.array_split(np.asarray(ids), 1 + len(ids) // (1 << 20))
    counts = sum(np.bincount(part, minlength=size) for part in parts) + 1
    return np.log(counts / counts.sum())

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


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What a run is made of; the defaults suit a few minutes on two cores.

    Args:
        minutes: time to train; the learning rate reaches its end when it is over. Either this, or `epochs` or `steps`.
        epochs: passes over the training text.
        steps: updates of the weights.
        level: what a token is: "char", "byte" or "word".
        cell: "lstm" or "rnn".
        units: size of each recurrent layer.
        layers: number of recurrent layers.
        embedding_dim: length of a token's vector.
        dropout: share of the layers' outputs that a row does without for a chunk; 0, for a run of minutes sees a text
            few times.
        batch_size: number of parallel streams.
        sequence_length: tokens in a chunk; gradients reach back that far at most.
        learning_rate: the highest value of the schedule, for Adam. 0.008 lies between the two best
            of those tried (docs/architecture.md).
        schedule: how the learning rate falls after a short warm-up: "cosine", "linear", both to 0, or "constant", not
            at all.
        clip_norm: limit of the gradients' global norm; 1 keeps rare steep steps from undoing many others
            (Pascanu et al. 2013).
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
    dropout: float = 0.0
    batch_size: int = 64
    sequence_length: int = 64
    learning_rate: float = 8e-3
    schedule: str = "cosine"
    clip_norm: float = 1.0
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
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be a number from 0 to below 1; received {self.dropout!r}.")
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
        ('to be or not t', 'o be')
        """
        vocabulary = Vocabulary.from_text(text, level=level)
        ids = vocabulary.encode(text)
        held_out = max(2, round(len(ids) * validation_fraction))
        return cls(vocabulary, ids[:-held_out], ids[-held_out:])


def make_model(corpus, config):
    """The model that a `TrainingConfig` describes, compiled, its weights drawn from the seed."""
    keras.utils.set_random_seed(config.seed)
    cells = [CELLS[config.cell](config.units) for _ in range(config.layers)]
    model = CharLM(corpus.vocabulary, cells, config.embedding_dim, config.dropout, dropout_seed=config.seed)
    # The softmax starts from the frequencies of the symbols: no update is spent on learning them, and no state on
    # keeping the rare ones down.
    model.head.bias.assign(log_frequencies(corpus.train_ids, len(corpus.vocabulary)))
    model.compile(keras.optimizers.Adam(config.learning_rate, global_clipnorm=config.clip_norm))
    return model


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

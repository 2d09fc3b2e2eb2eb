"""What suits a budget: operations decide on the size of a model, epochs over the text on its regularization."""

import math
import time
from typing import Any

import tensorflow as tf

from tfcharlm.kernels import available_cores
from tfcharlm.layers import CELLS
from tfcharlm.training.config import TrainingConfig

# Seconds for imports, tracing, and the graphs of evaluations.
START_UP = 12
# Between 7 and 20, the two values that were tried; they gave the same loss (docs/training-recipe.md).
TOKENS_PER_PARAMETER = 12
# A guess: with more parameters for each character of the text, a model would learn the text by heart.
PARAMETERS_PER_CHARACTER = 2.5
# For small texts: twice the width, and as much dropout of outputs as of weights. Three texts of 20 kB gained 1% to 4%,
# one run each; two of 90,000 characters gained nothing (docs/training-recipe.md).
# Networks whose logits are averaged, by the epochs that one network would read. Each has fewer parameters then.
MEMBERS = ((25, 3), (10, 2), (0, 1))
PARAMETERS_PER_CHARACTER_OF_A_MEMBER = 1.6
# A network with fewer parameters for each character needs less dropout and weight decay.
FULLY_REGULARIZED = 1.5
SMALL_TEXT, LARGER_TEXT, PARAMETERS_PER_CHARACTER_OF_SMALL_TEXT = 60_000, 90_000, 6
# Weight decay, at least; as much more for every doubling of the epochs from six on; at most. For texts that are not
# small, and for alphabets that are large (docs/training-recipe.md).
WEIGHT_DECAY, DECAY_PER_DOUBLING, MOST_DECAY = 0.1, 0.06, 0.3
LARGE_ALPHABET, DECAY_OF_LARGE_ALPHABET = 512, 0.5
# Numbers of the vector of a token.
EMBEDDING_DIM, EMBEDDING_DIM_OF_LARGE_ALPHABET = 64, 128
# The learning rate of 256 units, and the highest one (docs/training-recipe.md).
LEARNING_RATE, HIGHEST_RATE = 0.024, 0.03
# Small texts, large alphabets and words were tried at half of it only.
CAREFUL_RATE, HIGHEST_CAREFUL_RATE = 0.012, 0.02
SEQUENCE_LENGTH, ROWS, WIDTHS = 64, (4, 64), range(32, 4097, 32)
# The options of a configuration that `suggest_config` takes. Those that it chooses are `SUGGESTED`.
SHAPE = ("units", "cell", "layers", "embedding_dim", "skip_connections", "members")


def suggest_config(
    seconds: float,
    speed: float,
    tokens: int,
    vocabulary_size: int = 65,
    characters: int | None = None,
    units: int | None = None,
    **shape: Any,
) -> dict[str, Any]:
    r"""Suggests the size and the regularization of a model for a time and a text.

    The constants were measured with one LSTM over characters. A token costs about six operations for each parameter,
    forward and backward. So a model with n parameters reads

    $$ D = \frac{\mathrm{speed} \cdot \mathrm{seconds}}{6 n} $$

    tokens. n is chosen for a D / n of 12, or for 2.5 parameters for each character of the text if that is less. The
    more often the text is read, the higher is the dropout of weights and outputs, and the weight decay. The wider a
    layer, the lower is the learning rate. Texts of less than 90,000 characters have up to 6 parameters for each, and
    more dropout of outputs. Vocabularies of more than 512 tokens, such as Chinese characters, have longer vectors with
    dropout, and more weight decay. Where a text is read often, several networks share the operations, and their logits
    are averaged.

    Args:
        seconds: duration of the whole run.
        speed: floating-point operations per second, from `measured_speed`.
        tokens: number of tokens of the training text.
        vocabulary_size: number of different tokens. 65 by default, as in Shakespeare's plays.
        characters: number of characters of the training text; None (default) if every token is a character.
        units: size of each recurrent layer; None (default) chooses it.
        **shape: `cell`, `layers`, `embedding_dim` and `skip_connections` of a `TrainingConfig`, if they are not the
            default.

    Returns:
        Arguments of `TrainingConfig`: a dictionary with the keys in `SUGGESTED`.

    Example:

    >>> from tfcharlm.training import suggest_config
    >>> runs = [suggest_config(60 * minutes, speed=130e9, tokens=10**6) for minutes in (1.5, 10, 30)]
    >>> [(run["members"], run["units"]) for run in runs]
    [(1, 256), (2, 320), (2, 448)]

    Reference: Hoffmann et al. (2022), Training compute-optimal large language models, for the balance of parameters and
    tokens; Gal & Ghahramani (2016) and Merity et al. (2018) for dropout.
    """
    tokens = max(tokens, 1)
    is_large = vocabulary_size > LARGE_ALPHABET
    shape = {"embedding_dim": EMBEDDING_DIM_OF_LARGE_ALPHABET if is_large else EMBEDDING_DIM} | shape
    operations = speed * max(seconds - START_UP, 1)
    characters = characters or tokens
    smallness, is_words = _smallness(characters), characters > 1.5 * tokens

    def sized(members: int) -> tuple[int, int, float]:
        """Units, parameters and epochs."""
        widths = [units] if units else WIDTHS
        sizes = {width: _multiplied(width, vocabulary_size, **shape | {"members": members}) for width in widths}
        each = PARAMETERS_PER_CHARACTER ** (1 - smallness) * PARAMETERS_PER_CHARACTER_OF_SMALL_TEXT**smallness
        each = each if members == 1 else PARAMETERS_PER_CHARACTER_OF_A_MEMBER
        wanted = min(math.sqrt(operations / 6 / TOKENS_PER_PARAMETER), characters * each * members)
        width = min(sizes, key=lambda width: abs(math.log(sizes[width] / wanted)))
        return width, sizes[width], operations / 6 / sizes[width] / tokens

    members = shape.pop("members", None)
    if members is None:
        # Small texts, large alphabets and words were not tried.
        epochs = 0 if smallness or is_large or is_words else sized(1)[2]
        members = next(number for least, number in MEMBERS if epochs >= least)
    units, parameters, epochs = sized(members)
    # None until a text is read six times; then 0.1 more for every doubling of the epochs.
    doublings = max(0.0, math.log2(epochs / 6))
    if not is_words:
        doublings *= min(1.0, parameters / members / characters / FULLY_REGULARIZED)
    weight_drop = round(min(doublings / 10, 0.5), 2)
    most_decay = DECAY_OF_LARGE_ALPHABET if is_large else MOST_DECAY + (WEIGHT_DECAY - MOST_DECAY) * smallness
    weight_decay = min(WEIGHT_DECAY + DECAY_PER_DOUBLING * (2 if is_large else 1) * doublings, most_decay)
    is_careful = smallness > 0 or is_large or is_words
    fewest, most = ROWS
    # With many rows, an epoch over a short text would have only a few updates.
    rows = min(most, max(fewest, 2 ** int(math.log2(1 + tokens / SEQUENCE_LENGTH / 32))))
    return {
        "units": units,
        "members": members,
        "embedding_dim": shape["embedding_dim"],
        "input_dropout": round(weight_drop / 2, 3) if is_large else 0.0,
        "weight_decay": round(weight_decay, 2),
        "dropout": weight_drop / 2 if smallness == 0 else round(weight_drop * (1 + smallness) / 2, 3),
        "weight_drop": weight_drop,
        "batch_size": rows,
        "sequence_length": max(1, min(SEQUENCE_LENGTH, (tokens - 1) // rows)),
        "state_reset_probability": 0.01,
        "learning_rate": careful_rate(units) if is_careful else _rate(units, LEARNING_RATE, HIGHEST_RATE),
        "fit_temperature": True,
    }


def careful_rate(units: int) -> float:
    """The learning rate of small texts, large alphabets and words; and twice what a trained model begins with."""
    return _rate(units, CAREFUL_RATE, HIGHEST_CAREFUL_RATE)


def _rate(units, of_256_units, highest):
    return round(min(of_256_units * math.sqrt(256 / units), highest), 4)


def measured_speed(seconds: float = 0.5) -> float:
    """Measures the speed of matrix products on all cores.

    Args:
        seconds: how long to repeat them; half a second by default.

    Returns:
        Floating-point operations per second, the best of all repetitions.

    Example:

    >>> from tfcharlm.training import measured_speed
    >>> measured_speed(seconds=0.1) > 1e6
    True
    """
    size, cores = 512, tf.config.threading.get_inter_op_parallelism_threads() or available_cores()
    matrices = [tf.random.stateless_normal((size, size), (core, 0)) for core in range(cores)]

    @tf.function(autograph=False)
    def products():
        # Only the sums: otherwise results as large as the factors would have to be returned.
        return [tf.reduce_sum(tf.matmul(matrix, matrix)) for matrix in matrices]

    products()
    best, started = math.inf, time.monotonic()
    while time.monotonic() - started < seconds:
        before = time.perf_counter()
        products()
        best = min(best, time.perf_counter() - before)
    return cores * 2 * size**3 / best


def matrix_weights(config: TrainingConfig, vocabulary_size: int) -> int:
    """The number of weights that every token is multiplied by, in the model of a configuration.

    Args:
        config: a `TrainingConfig`.
        vocabulary_size: number of different tokens.

    Returns:
        A number of weights; a step takes about six operations for each of them and each token.
    """
    return _multiplied(vocabulary_size=vocabulary_size, **{name: getattr(config, name) for name in SHAPE})


def _smallness(characters):
    """1 for a small text, 0 for a larger one, and in between by the logarithm of the length."""
    position = math.log(characters / SMALL_TEXT) / math.log(LARGER_TEXT / SMALL_TEXT)
    return min(max(1 - position, 0.0), 1.0)


def _multiplied(units, vocabulary_size, cell="lstm", layers=1, embedding_dim=64, skip_connections=False, members=1):
    """The number of weights that every token is multiplied by."""
    blocks = CELLS[cell].num_blocks
    more = embedding_dim if skip_connections else 0
    first = blocks * units * (embedding_dim + units)
    head = vocabulary_size * units * (layers if skip_connections else 1)
    return members * (first + (layers - 1) * blocks * units * (2 * units + more) + head)

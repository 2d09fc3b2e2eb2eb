"""What fits a budget: the size of a model by operations, how much it is regularized by passes over the text."""

import math
import time

import tensorflow as tf

from tfcharlm.kernels import available_cores
from tfcharlm.layers import CELLS

# Seconds of importing, tracing, the graphs of reports.
START_UP = 12
# Between the two that were tried, 7 and 20, which gave the same loss (docs/recipe.md).
TOKENS_PER_PARAMETER = 12
# A guess: more parameters than this for each character of the text would learn it by heart.
PARAMETERS_PER_CHARACTER = 2.5
# Of 256 units, and the highest that was tried (docs/recipe.md).
LEARNING_RATE, HIGHEST_RATE = 0.012, 0.02
SEQUENCE_LENGTH, ROWS, WIDTHS = 64, (4, 64), range(32, 4097, 32)
# What `suggest_config` takes of a configuration, and what it chooses.
SHAPE = ("units", "cell", "layers", "embedding_dim", "skip_connections")
SUGGESTED = (
    "units",
    "dropout",
    "weight_drop",
    "batch_size",
    "sequence_length",
    "state_reset_probability",
    "learning_rate",
)


def suggest_config(seconds, speed, tokens, vocabulary_size=65, characters=None, units=None, **shape):
    r"""What a model is best trained with in so much time on so much text; measured for one LSTM over characters.

    A token costs about six operations a parameter, forward and backward, so that n parameters see

    $$ D = \frac{\mathrm{speed} \cdot \mathrm{seconds}}{6 n} $$

    tokens; n is chosen for a certain D / n. The more often the text is read on the way, the more is left out of weights
    and outputs; and the wider the layer, the lower the learning rate.

    Args:
        seconds: of the whole run.
        speed: floating-point operations a second, as `measured_speed` gives them.
        tokens: of the training text.
        vocabulary_size: number of different ones.
        characters: of the training text; None: every token is one.
        units: of a layer, if they are given; None chooses them.
        **shape: cell, layers, embedding_dim, skip_connections of a `TrainingConfig`, if they are given.

    Returns:
        Arguments of `TrainingConfig`, those named in `SUGGESTED`.

    Example:

    >>> from tfcharlm.training import suggest_config
    >>> [suggest_config(60 * minutes, speed=130e9, tokens=10**6)["units"] for minutes in (1.5, 10, 30)]
    [256, 480, 640]

    Reference: Hoffmann et al. (2022), Training compute-optimal large language models, for the balance of parameters and
    tokens; Gal & Ghahramani (2016) and Merity et al. (2018) for what is left out.
    """
    tokens = max(tokens, 1)
    operations = speed * max(seconds - START_UP, 1)
    sizes = {width: _multiplied(width, vocabulary_size, **shape) for width in ([units] if units else WIDTHS)}
    wanted = min(math.sqrt(operations / 6 / TOKENS_PER_PARAMETER), PARAMETERS_PER_CHARACTER * (characters or tokens))
    units = min(sizes, key=lambda width: abs(math.log(sizes[width] / wanted)))
    epochs = operations / 6 / sizes[units] / tokens
    # Nothing until a text is read six times; then every doubling of the passes asks for a tenth more.
    share = round(min(max(0.0, math.log2(epochs / 6) / 10), 0.5), 2)
    fewest, most = ROWS
    # A pass over a short text would be over in a few updates of many rows.
    rows = min(most, max(fewest, 2 ** int(math.log2(1 + tokens / SEQUENCE_LENGTH / 32))))
    return {
        "units": units,
        "dropout": share / 2,
        "weight_drop": share,
        "batch_size": rows,
        "sequence_length": max(1, min(SEQUENCE_LENGTH, (tokens - 1) // rows)),
        "state_reset_probability": 0.01,
        "learning_rate": round(min(LEARNING_RATE * math.sqrt(256 / units), HIGHEST_RATE), 4),
    }


def measured_speed(seconds=0.5):
    """Floating-point operations a second of matrix products, all cores at work, the best of some tries.

    Args:
        seconds: how long to try.
    """
    size, cores = 512, tf.config.threading.get_inter_op_parallelism_threads() or available_cores()
    matrices = [tf.random.stateless_normal((size, size), (core, 0)) for core in range(cores)]

    @tf.function(autograph=False)
    def products():
        # Sums, because results as large as the factors would have to be handed out.
        return [tf.reduce_sum(tf.matmul(matrix, matrix)) for matrix in matrices]

    products()
    best, began = math.inf, time.monotonic()
    while time.monotonic() - began < seconds:
        before = time.perf_counter()
        products()
        best = min(best, time.perf_counter() - before)
    return cores * 2 * size**3 / best


def _multiplied(units, vocabulary_size, cell="lstm", layers=1, embedding_dim=64, skip_connections=False):
    """How many weights a token is multiplied by."""
    blocks = CELLS[cell].num_blocks
    more = embedding_dim if skip_connections else 0
    first = blocks * units * (embedding_dim + units)
    head = vocabulary_size * units * (layers if skip_connections else 1)
    return first + (layers - 1) * blocks * units * (2 * units + more) + head

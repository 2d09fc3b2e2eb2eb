"""What fits a budget: the size of a model by operations, how much it is regularised by passes over the text."""

import math
import time

import tensorflow as tf

from tfcharlm.kernels import available_cores

# Seconds of importing, tracing, the graphs of reports.
START_UP = 12
# Measured, as all that follows (docs/recipe.md): with fewer tokens a parameter a model has not learnt what it could;
# with more a larger one would have learnt more.
TOKENS_PER_PARAMETER = 9
# More parameters than this for each token of the text learn it by heart.
PARAMETERS_PER_TOKEN = 2.5
SEQUENCE_LENGTH, ROWS = 64, (4, 64)
# What `suited` chooses.
SUITED = ("units", "dropout", "weight_drop", "batch_size", "sequence_length", "reset_rate", "learning_rate")


def suited(seconds, speed, tokens, units=None, layers=1):
    r"""What an LSTM is best trained with in so much time on so much text.

    A token costs about six operations a parameter, forward and backward, so that n parameters see

    $$ D = \frac{\mathrm{speed} \cdot \mathrm{seconds}}{6 n} $$

    tokens; n is chosen for the D / n that did best. The more often the text is read on the way, the more is left out of
    weights and outputs; and the wider the layer, the lower the learning rate.

    Args:
        seconds: of the whole run.
        speed: floating-point operations a second, as `measured_speed` gives them.
        tokens: of the training text.
        units: of a layer, if they are given; None chooses them.
        layers: how many there are.

    Returns:
        Arguments of `TrainingConfig`, those named in `SUITED`.

    Example:

    >>> [suited(60 * minutes, speed=130e9, tokens=10**6)["units"] for minutes in (1.5, 10, 30)]
    [288, 480, 672]

    Reference: Hoffmann et al. (2022), Training compute-optimal large language models, for the balance of parameters and
    tokens; Gal & Ghahramani (2016) and Merity et al. (2018) for what is left out.
    """
    operations = speed * max(seconds - START_UP, 1)
    if units is None:
        parameters = min(math.sqrt(operations / 6 / TOKENS_PER_PARAMETER), PARAMETERS_PER_TOKEN * tokens)
        units = max(32, 32 * round(_units(parameters / layers) / 32))
    passes = operations / 6 / (layers * _parameters(units)) / tokens
    # Every doubling of the passes asks for a tenth more.
    share = round(min(max(0.0, math.log2(passes / 2) / 10), 0.5), 2)
    fewest, most = ROWS
    return {
        "units": units,
        "dropout": share / 2,
        "weight_drop": share,
        # A pass over a short text would be over in a few updates.
        "batch_size": min(most, max(fewest, 2 ** int(math.log2(1 + tokens / SEQUENCE_LENGTH / 32)))),
        "sequence_length": SEQUENCE_LENGTH,
        "reset_rate": 0.01,
        "learning_rate": round(0.012 * math.sqrt(256 / units), 4),
    }


def measured_speed(seconds=0.5):
    """Floating-point operations a second of matrix products, all cores at work, the best of some tries.

    Args:
        seconds: how long to try.
    """
    size = 512
    matrices = [tf.random.stateless_normal((size, size), (core, 0)) for core in range(available_cores())]

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
    return len(matrices) * 2 * size**3 / best


def _parameters(units):
    """Of one LSTM layer with the usual embedding and head."""
    return 4 * units * (units + 65) + 65 * units


def _units(parameters):
    """The inverse of `_parameters`."""
    return (math.sqrt(325**2 + 16 * parameters) - 325) / 8

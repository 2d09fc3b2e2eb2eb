"""The squashing functions, the softmax and the loss, each with its derivative.

Everything here acts on the last axis or entry by entry, so that the same functions work for one step, a sequence and a
batch. This file leaves out where the numbers come from: see `rnn` and `lstm`.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect, expect_ids


def sigmoid(x: ArrayLike) -> np.ndarray:
    """The logistic function, `1 / (1 + exp(-x))`, of any shape.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import sigmoid
        >>> print(sigmoid(np.array([-1000.0, 0.0, 1000.0])))
        [0.  0.5 1. ]
    """
    # exp gets only numbers <= 0: exp(1000) would overflow, and 1 - sigmoid(-x) would lose all digits of a small result.
    small = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, small) / (1.0 + small)


def sigmoid_derivative(y: np.ndarray) -> np.ndarray:
    """`d sigmoid(x) / dx = y * (1 - y)`, from the output `y = sigmoid(x)`.

    Example:
        >>> from tfcharlm.reference import sigmoid, sigmoid_derivative
        >>> float(sigmoid_derivative(sigmoid(0.0)))
        0.25
    """
    return y * (1.0 - y)


def tanh(x: ArrayLike) -> np.ndarray:
    """The hyperbolic tangent, of any shape.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import tanh
        >>> print(tanh(np.array([-1000.0, 0.0, 1000.0])))
        [-1.  0.  1.]
    """
    return np.tanh(x)


def tanh_derivative(y: np.ndarray) -> np.ndarray:
    """`d tanh(x) / dx = 1 - y**2`, from the output `y = tanh(x)`.

    Example:
        >>> from tfcharlm.reference import tanh, tanh_derivative
        >>> float(tanh_derivative(tanh(0.0)))
        1.0
    """
    return 1.0 - y * y


def log_softmax(logits: ArrayLike) -> np.ndarray:
    """Log-probabilities, `z - log(sum(exp(z)))`, over the last axis.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import log_softmax
        >>> print(log_softmax(np.array([10_000.0, 0.0])))
        [     0. -10000.]
    """
    shifted = logits - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


def softmax(logits: ArrayLike) -> np.ndarray:
    """Probabilities, `exp(z) / sum(exp(z))`, over the last axis.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import softmax
        >>> print(softmax(np.array([10_000.0, 10_000.0])))
        [0.5 0.5]
    """
    return np.exp(log_softmax(logits))


def cross_entropy(logits: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, np.ndarray]:
    """Mean negative log-likelihood of the targets, and its derivative with respect to the logits.

        loss     = sum(w * -log_softmax(z)[target]) / sum(w)
        d_logits = w / sum(w) * (softmax(z) - one_hot(target))

    Args:
        logits: (..., V), unnormalized log-probabilities.
        targets: integers (...), below V.
        weights: (...), not negative; how much a position counts, 1 everywhere by default. Where a weight is 0, the
            logits may be NaN and the target may be any integer.

    Returns:
        `(loss, d_logits)`: nats per unit of weight as a float, 0 if all weights are 0; (..., V).

    Raises:
        ValueError: a shape is wrong, a weight is negative or not finite, or a target that counts is not an id.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import cross_entropy
        >>> loss, d_logits = cross_entropy([[0.0, 0.0], [np.nan, 0.0]], [1, -100], [1.0, 0.0])
        >>> round(loss, 4)
        0.6931
        >>> print(d_logits + 0.0)
        [[ 0.5 -0.5]
         [ 0.   0. ]]

    Reference:
        Bridle, 1990, "Probabilistic interpretation of feedforward classification network outputs".
    """
    logits = np.asarray(logits, np.float64)
    positions = logits.shape[:-1]
    weights = np.ones(positions) if weights is None else expect("weights", weights, *positions)
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        raise ValueError(f"weights must be finite and not negative, received {weights}")
    counts = weights > 0
    targets = expect_ids("targets", targets, logits.shape[-1], *positions, is_real=counts)[..., None]

    log_probabilities = log_softmax(np.where(counts[..., None], logits, 0.0))
    fraction = (weights / np.sum(weights) if counts.any() else weights)[..., None]
    target_log_probabilities = np.take_along_axis(log_probabilities, targets, axis=-1)
    one_hot = np.arange(logits.shape[-1]) == targets
    loss = float(-np.sum(fraction * target_log_probabilities)) + 0.0
    return loss, fraction * (np.exp(log_probabilities) - one_hot)

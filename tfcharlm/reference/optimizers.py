"""Four update rules and two ways to clip, as pure functions of arrays.

Every rule is `(parameter, gradient, state, ...) -> (parameter, state)`. The state is None at the start and belongs to
one parameter. Nothing is changed in place. Formulas and defaults are those of Keras 3, including the position of
epsilon, on which papers and libraries do not agree.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfcharlm.reference._checks import expect


class AdamState(NamedTuple):
    """What `adam` remembers about a parameter."""

    m: np.ndarray  # mean of the gradient, biased towards zero
    v: np.ndarray  # mean of the squared gradient, biased towards zero
    t: int  # updates so far


def sgd(
    parameter: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray | None = None,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient descent with optional momentum: `v = momentum * v - lr * g`, `p = p + v`.

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: the velocity v from the last update, or None.
        learning_rate: step size; Keras's default.
        momentum: fraction of the velocity that an update keeps; 0 (default) is plain gradient descent.

    Returns:
        `(parameter, state)`.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import sgd
        >>> parameter, state = sgd(np.array([1.0]), np.array([2.0]), learning_rate=0.1)
        >>> parameter
        array([0.8])

    Reference:
        Polyak, 1964, "Some methods of speeding up the convergence of iteration methods".
    """
    gradient = expect("gradient", gradient, *np.shape(parameter))
    velocity = 0.0 if state is None else state
    velocity = momentum * velocity - learning_rate * gradient
    return parameter + velocity, velocity


def adagrad(
    parameter: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray | None = None,
    learning_rate: float = 0.001,
    initial_accumulator_value: float = 0.1,
    epsilon: float = 1e-7,
) -> tuple[np.ndarray, np.ndarray]:
    """A learning rate for every entry, which falls as its squared gradients add up.

        a = a + g**2,    p = p - lr * g / sqrt(a + epsilon)

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: the sum a from the last update, or None.
        learning_rate: step size; Keras's default. Karpathy's min-char-rnn uses 0.1.
        initial_accumulator_value: the first value of a; Keras's default. Small gradients then do not start with a step
            of lr. min-char-rnn starts at 0.
        epsilon: keeps the root above 0; Keras's default. min-char-rnn uses 1e-8.

    Returns:
        `(parameter, state)`.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import adagrad
        >>> parameter, state = adagrad(np.array([1.0]), np.array([2.0]), learning_rate=0.1)
        >>> parameter.round(4), state
        (array([0.9012]), array([4.1]))

    Reference:
        Duchi, Hazan & Singer, 2011, "Adaptive subgradient methods for online learning and stochastic optimization".
    """
    gradient = expect("gradient", gradient, *np.shape(parameter))
    total = initial_accumulator_value if state is None else state
    total = total + gradient**2
    return parameter - learning_rate * gradient / np.sqrt(total + epsilon), total


def rmsprop(
    parameter: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray | None = None,
    learning_rate: float = 0.001,
    rho: float = 0.9,
    epsilon: float = 1e-7,
) -> tuple[np.ndarray, np.ndarray]:
    """Adagrad that forgets: a running mean of the squared gradient replaces the sum.

        v = rho * v + (1 - rho) * g**2,    p = p - lr * g / sqrt(v + epsilon)

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: the mean v from the last update, or None.
        learning_rate: step size; Keras's default.
        rho: fraction of the mean that an update keeps; 0.9 by default, as in the lecture.
        epsilon: keeps the root above 0; inside the root, as in Keras.

    Returns:
        `(parameter, state)`.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import rmsprop
        >>> parameter, state = rmsprop(np.array([1.0]), np.array([2.0]), learning_rate=0.1)
        >>> parameter.round(4), state.round(4)
        (array([0.6838]), array([0.4]))

    Reference:
        Tieleman & Hinton, 2012, "Neural networks for machine learning", lecture 6.5.
    """
    gradient = expect("gradient", gradient, *np.shape(parameter))
    mean = 0.0 if state is None else state
    mean = rho * mean + (1 - rho) * gradient**2
    return parameter - learning_rate * gradient / np.sqrt(mean + epsilon), mean


def adam(
    parameter: np.ndarray,
    gradient: np.ndarray,
    state: AdamState | None = None,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> tuple[np.ndarray, AdamState]:
    """Running means of the gradient and of the *squared* gradient, both corrected for their start at 0.

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        p = p - lr * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    The factor after lr is the bias correction. Without it the means, which start at 0, would be too small for the first
    1 / (1 - beta) updates. With it the first update moves every entry by nearly lr.

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: `AdamState` from the last update, or None.
        learning_rate: step size; the paper's and Keras's default.
        beta_1: fraction of the mean of the gradient that an update keeps; the paper's default.
        beta_2: the same for the squared gradient; the paper's default.
        epsilon: the paper's "epsilon hat", outside the root; Keras's default.

    Returns:
        `(parameter, state)`.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import adam
        >>> parameter, state = adam(np.array([1.0]), np.array([2.0]), learning_rate=0.1)
        >>> parameter.round(4), state.t
        (array([0.9]), 1)

    Reference:
        Kingma & Ba, 2015, "Adam: a method for stochastic optimization", algorithm 1, in the order of computation at the
        end of section 2.
    """
    gradient = expect("gradient", gradient, *np.shape(parameter))
    m, v, t = (0.0, 0.0, 0) if state is None else state
    m, v, t = beta_1 * m + (1 - beta_1) * gradient, beta_2 * v + (1 - beta_2) * gradient**2, t + 1
    rate = learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return parameter - rate * m / (np.sqrt(v) + epsilon), AdamState(m, v, t)


def clip_by_value(gradients: Any, limit: float) -> Any:
    """Clips every entry to [-limit, limit], which changes the direction. min-char-rnn clips at 5.

    Args:
        gradients: an array, or nested tuples, lists and named tuples of arrays.
        limit: positive number.

    Returns:
        The same structure.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import clip_by_value
        >>> clip_by_value((np.array([-9.0, 1.0]), [np.array([6.0])]), 5.0)
        (array([-5.,  1.]), [array([5.])])
    """
    return _map(lambda gradient: np.clip(gradient, -limit, limit), gradients)


def clip_by_global_norm(gradients: Any, limit: float) -> tuple[Any, float]:
    """Multiplies all gradients by `limit / max(norm, limit)`, which keeps the direction.

        norm = sqrt(sum of the squares of all entries of all arrays)

    Args:
        gradients: an array, or nested tuples, lists and named tuples of arrays.
        limit: positive number.

    Returns:
        `(gradients, norm)`: the same structure, and the norm before clipping. If the norm is not finite, all gradients
        are NaN, as in TensorFlow: a step must not hide that it has failed.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import clip_by_global_norm
        >>> clip_by_global_norm([np.array([3.0, 0.0]), np.array([4.0])], 1.0)
        ([array([0.6, 0. ]), array([0.8])], 5.0)

    Reference:
        Pascanu, Mikolov & Bengio, 2013, "On the difficulty of training recurrent neural networks", algorithm 1.
    """
    norm = float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in _leaves(gradients))))
    factor = limit / max(norm, limit) if np.isfinite(norm) else np.nan
    return _map(lambda gradient: gradient * factor, gradients), norm


def _map(function: Callable[[np.ndarray], np.ndarray], tree: Any) -> Any:
    if isinstance(tree, (tuple, list)):
        branches = [_map(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return function(np.asarray(tree, np.float64))


def _leaves(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    return [np.asarray(tree, np.float64)]

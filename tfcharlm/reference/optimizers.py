"""Four update rules and two ways to clip, as pure functions of arrays.

Every rule is `(parameter, gradient, state, ...) -> (parameter, state)`; the state is None at the
start, belongs to one parameter, and nothing is changed in place. Formulas and defaults are those of
Keras 3, places of epsilon included, which papers and libraries do not agree on.
"""

from typing import NamedTuple

import numpy as np

from tfcharlm.reference._checks import expect


class AdamState(NamedTuple):
    """What `adam` remembers of a parameter."""

    m: np.ndarray  # mean of the gradient, biased to zero
    v: np.ndarray  # mean of the squared gradient, biased to zero
    t: int  # updates so far


def sgd(parameter, gradient, state=None, learning_rate=0.01, momentum=0.0):
    """Gradient descent, with momentum if asked: `v = momentum * v - lr * g`, `p = p + v`.

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: the velocity v from the last update, or None.
        learning_rate: step size; Keras's default.
        momentum: share of the velocity that an update keeps; 0 is plain descent.

    Returns:
        `(parameter, state)`.

    Example:
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
    parameter,
    gradient,
    state=None,
    learning_rate=0.001,
    initial_accumulator_value=0.1,
    epsilon=1e-7,
):
    """A rate for every entry, falling as its gradients add up.

        a = a + g**2,    p = p - lr * g / sqrt(a + epsilon)

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: the sum a from the last update, or None.
        learning_rate: step size; Keras's default. Karpathy's min-char-rnn uses 0.1.
        initial_accumulator_value: where a begins; Keras's default, so that small
            gradients do not begin with a step of lr. min-char-rnn begins at 0.
        epsilon: keeps the root from 0; Keras's default. min-char-rnn has 1e-8.

    Returns:
        `(parameter, state)`.

    Example:
        >>> parameter, state = adagrad(np.array([1.0]), np.array([2.0]), learning_rate=0.1)
        >>> parameter.round(4), state
        (array([0.9012]), array([4.1]))

    Reference:
        Duchi, Hazan & Singer, 2011, "Adaptive subgradient methods for online learning and
        stochastic optimization".
    """
    gradient = expect("gradient", gradient, *np.shape(parameter))
    total = initial_accumulator_value if state is None else state
    total = total + gradient**2
    return parameter - learning_rate * gradient / np.sqrt(total + epsilon), total


def rmsprop(parameter, gradient, state=None, learning_rate=0.001, rho=0.9, epsilon=1e-7):
    """Adagrad that forgets: a running mean of the squared gradient in the place of the sum.

        v = rho * v + (1 - rho) * g**2,    p = p - lr * g / sqrt(v + epsilon)

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: the mean v from the last update, or None.
        learning_rate: step size; Keras's default.
        rho: share of the mean that an update keeps; 0.9 in the lecture.
        epsilon: keeps the root from 0; inside the root, as in Keras.

    Returns:
        `(parameter, state)`.

    Example:
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
    parameter,
    gradient,
    state=None,
    learning_rate=0.001,
    beta_1=0.9,
    beta_2=0.999,
    epsilon=1e-7,
):
    """Running means of the gradient and of the *squared* gradient, both corrected for their start.

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        p = p - lr * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)

    The factor after lr is the bias correction: without it the means, which begin at 0, would be too
    small for the first 1 / (1 - beta) updates. With it the first moves every entry by nearly lr.

    Args:
        parameter: the array to improve.
        gradient: derivative of the loss by it, same shape.
        state: `AdamState` from the last update, or None.
        learning_rate: step size; the paper's and Keras's default.
        beta_1: share of the mean of the gradient that an update keeps; the paper's.
        beta_2: the same for the squared gradient; the paper's.
        epsilon: the paper's "epsilon hat", outside the root; Keras's default.

    Returns:
        `(parameter, state)`.

    Example:
        >>> parameter, state = adam(np.array([1.0]), np.array([2.0]), learning_rate=0.1)
        >>> parameter.round(4), state.t
        (array([0.9]), 1)

    Reference:
        Kingma & Ba, 2015, "Adam: a method for stochastic optimization", algorithm 1 in the order
        of computation that the end of its section 2 gives.
    """
    gradient = expect("gradient", gradient, *np.shape(parameter))
    m, v, t = (0.0, 0.0, 0) if state is None else state
    m, v, t = beta_1 * m + (1 - beta_1) * gradient, beta_2 * v + (1 - beta_2) * gradient**2, t + 1
    rate = learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return parameter - rate * m / (np.sqrt(v) + epsilon), AdamState(m, v, t)


def clip_by_value(gradients, limit):
    """Every entry into [-limit, limit]: the direction changes. min-char-rnn clips at 5.

    Args:
        gradients: an array, or tuples, lists and named tuples of them, nested as you like.
        limit: positive number.

    Returns:
        The same structure.

    Example:
        >>> clip_by_value((np.array([-9.0, 1.0]), [np.array([6.0])]), 5.0)
        (array([-5.,  1.]), [array([5.])])
    """
    return _map(lambda gradient: np.clip(gradient, -limit, limit), gradients)


def clip_by_global_norm(gradients, limit):
    """All gradients by one factor, `limit / max(norm, limit)`: the direction stays.

        norm = sqrt(sum of the squares of all entries of all arrays)

    Args:
        gradients: an array, or tuples, lists and named tuples of them, nested as you like.
        limit: positive number.

    Returns:
        `(gradients, norm)`: the same structure, and the norm before clipping. A norm that is not
        finite makes all of them NaN, as in TensorFlow: a step must not hide that it has failed.

    Example:
        >>> clip_by_global_norm([np.array([3.0, 0.0]), np.array([4.0])], 1.0)
        ([array([0.6, 0. ]), array([0.8])], 5.0)

    Reference:
        Pascanu, Mikolov & Bengio, 2013, "On the difficulty of training recurrent neural networks",
        algorithm 1.
    """
    norm = float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in _leaves(gradients))))
    factor = limit / max(norm, limit) if np.isfinite(norm) else np.nan
    return _map(lambda gradient: gradient * factor, gradients), norm


def _map(function, tree):
    if isinstance(tree, (tuple, list)):
        branches = [_map(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return function(np.asarray(tree, np.float64))


def _leaves(tree):
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    return [np.asarray(tree, np.float64)]

"""Checks a gradient against finite differences of the function itself.

Central differences have an error of O(epsilon**2) from the curvature and of O(1e-16 / epsilon) from rounding. In
float64, epsilon = 1e-5 balances the two for values near 1, and leaves an error of about 1e-10. A one-sided difference
has an error of O(epsilon): it cannot tell a correct gradient from a nearly correct one.

Reference:
    Press et al., 2007, "Numerical Recipes", section 5.7.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

Function = Callable[[np.ndarray], float]


def numerical_gradient(function: Function, array: ArrayLike, epsilon: float = 1e-5) -> np.ndarray:
    """`d function / d array` by central differences, entry by entry.

        gradient[e] = (f(a + epsilon e) - f(a - epsilon e)) / (2 epsilon)

    Args:
        function: takes an array of the shape of `array`, returns a number.
        array: where to differentiate; any shape. It is not changed.
        epsilon: half the distance between the two evaluations; 1e-5 by default, as derived above.

    Returns:
        float64 array of the shape of `array`. It costs two evaluations per entry.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import numerical_gradient
        >>> numerical_gradient(lambda a: np.sum(a**2), np.array([1.0, -3.0])).round(6)
        array([ 2., -6.])
    """
    array = np.array(array, np.float64)
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        above, below = array.copy(), array.copy()
        above[index] += epsilon
        below[index] -= epsilon
        gradient[index] = (function(above) - function(below)) / (2 * epsilon)
    return gradient


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """`|a - b| / (|a| + |b|)` in Euclidean norms: 0 if they are equal, 1 if nothing agrees.

    Example:
        >>> from tfcharlm.reference import relative_error
        >>> relative_error([3.0, 0.0], [1.0, 0.0])
        0.5
        >>> relative_error([0.0], [0.0])
        0.0
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ, expected the same")
    scale = np.linalg.norm(a) + np.linalg.norm(b)
    return float(np.linalg.norm(a - b) / scale) if scale != 0 else 0.0


def check_gradient(
    function: Function, array: ArrayLike, gradient: ArrayLike, tolerance: float = 1e-7, epsilon: float = 1e-5
) -> float:
    """Compares a gradient with central differences in every entry.

    Args:
        function: takes an array of the shape of `array`, returns a number.
        array: where to differentiate.
        gradient: the gradient to check, `d function / d array`.
        tolerance: the largest `relative_error` that passes. A wrong term gives 1e-2 or more, and rounding gives 1e-8 or
            less; the default 1e-7 is between them.
        epsilon: as in `numerical_gradient`.

    Returns:
        The relative error.

    Raises:
        AssertionError: the error is larger than the tolerance, or NaN. The message has both numbers where they differ
            most.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import check_gradient
        >>> check_gradient(np.sum, np.array([1.0, 2.0]), np.array([1.0, 1.0])) < 1e-7
        True
        >>> check_gradient(np.sum, np.array([1.0, 2.0]), np.array([1.0, 3.0]))
        Traceback (most recent call last):
            ...
        AssertionError: relative error 4.4e-01 > 1e-07; at (1,) the gradient says 3, differences 1
    """
    numerical = numerical_gradient(function, array, epsilon)
    error = relative_error(gradient, numerical)
    if not error <= tolerance:  # NaN fails too
        gradient = np.asarray(gradient)
        worst = np.unravel_index(np.argmax(np.abs(gradient - numerical)), numerical.shape)
        raise AssertionError(
            f"relative error {error:.1e} > {tolerance:.0e}; at {tuple(map(int, worst))} "
            f"the gradient says {gradient[worst]:.9g}, differences {numerical[worst]:.9g}"
        )
    return error


def directional_derivative(
    function: Function, array: ArrayLike, gradient: np.ndarray, rng: np.random.Generator, epsilon: float = 1e-5
) -> tuple[float, float]:
    """The slope along one random direction, measured and claimed. It costs two evaluations for any size.

        measured = (f(a + epsilon u) - f(a - epsilon u)) / (2 epsilon)
        claimed  = sum(gradient * u)

    A wrong entry passes only if the direction is orthogonal to the error, which has probability 0.

    Args:
        function: takes an array of the shape of `array`, returns a number.
        array: where to differentiate; any shape. It is not changed.
        gradient: the gradient to check, `d function / d array`.
        rng: `numpy.random.Generator` that draws the direction u, of Euclidean norm 1.
        epsilon: half the distance between the two evaluations; 1e-5 by default, as derived above.

    Returns:
        `(measured, claimed)`, two floats.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import directional_derivative
        >>> a = np.arange(1000.0)
        >>> measured, claimed = directional_derivative(np.sum, a, a**0, np.random.default_rng(0))
        >>> abs(measured - claimed) < 1e-4
        True

    Reference:
        The check of Autograd (Maclaurin, Duvenaud & Adams, 2015), `autograd.test_util`.
    """
    array = np.asarray(array, np.float64)
    direction = rng.standard_normal(array.shape)
    direction /= np.linalg.norm(direction)
    above, below = function(array + epsilon * direction), function(array - epsilon * direction)
    return float(above - below) / (2 * epsilon), float(np.sum(gradient * direction))

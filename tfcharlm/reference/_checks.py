"""What every public function requires of its arguments: shapes, and ids that exist."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


def expect(name: str, value: ArrayLike, *shape: int | str, dtype: DTypeLike | None = np.float64) -> np.ndarray:
    """Returns `value` as an array of `dtype`, or raises a ValueError that says which shape was expected.

    Args:
        name: the name of the argument, for the message.
        value: anything that NumPy can convert to an array.
        shape: one entry per axis: an integer is required, a letter such as `"B"` accepts any size.
        dtype: dtype to convert to; None keeps the dtype of the value.

    Example:
        >>> from tfcharlm.reference._checks import expect
        >>> expect("x", [[1, 2, 3]], "B", 3)
        array([[1., 2., 3.]])
        >>> expect("x", [[1, 2, 3]], "B", 4)
        Traceback (most recent call last):
            ...
        ValueError: x has shape (1, 3), expected (B, 4)
    """
    array = np.asarray(value, dtype)
    fits = array.ndim == len(shape)
    for wanted, size in zip(shape, array.shape, strict=False):
        fits = fits and (isinstance(wanted, str) or wanted == size)
    if not fits:
        expected = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name} has shape {array.shape}, expected ({expected})")
    return array


def expect_ids(
    name: str, value: ArrayLike, size: int, *shape: int | str, is_real: bool | np.ndarray = True
) -> np.ndarray:
    """Returns integer ids below `size`. Where `is_real` is False, any id is accepted and becomes 0.

    Negative ids are rejected, too: NumPy would silently read them from the end of a table.
    """
    ids = expect(name, value, *shape, dtype=None)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} has dtype {ids.dtype}, expected integers")
    ids = np.where(is_real, ids, 0)
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        received = f"{ids.min()} to {ids.max()}"
        raise ValueError(f"{name} has ids from {received}, expected 0 to {size - 1}")
    return ids


Weights = TypeVar("Weights", bound=Any)


def expect_weights(weights: Weights, num_blocks: int) -> Weights:
    """Returns weights as float64: kernel (D, G*H), recurrent_kernel (H, G*H), bias (G*H,), for G = `num_blocks`."""
    units = np.shape(weights.recurrent_kernel)[0]
    return type(weights)(
        expect("kernel", weights.kernel, "D", num_blocks * units),
        expect("recurrent_kernel", weights.recurrent_kernel, units, num_blocks * units),
        expect("bias", weights.bias, num_blocks * units),
    )


def expect_sequence(x: ArrayLike, mask: ArrayLike | None, input_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x (B, T, D) with zeros where it is masked, and the mask (B, T), all True by default.

    The values of masked steps are dropped here, because 0 * NaN is NaN in every later product.
    """
    x = expect("x", x, "B", "T", input_dim)
    if mask is None:
        return x, np.ones(x.shape[:2], bool)
    mask = expect("mask", mask, *x.shape[:2], dtype=bool)
    return np.where(mask[..., None], x, 0.0), mask


def expect_or_zeros(name: str, value: ArrayLike | None, *shape: int) -> np.ndarray:
    """Returns `value` checked, or float64 zeros of that shape if it is None."""
    return np.zeros(shape) if value is None else expect(name, value, *shape)

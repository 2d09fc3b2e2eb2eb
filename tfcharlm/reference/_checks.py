"""What every public function asks of its arguments at the door: shapes, and ids that exist."""

import numpy as np


def expect(name, value, *shape, dtype=np.float64):
    """Returns `value` as an array of `dtype`, or says in one line which shape was expected.

    Args:
        name: the argument's name, for the message.
        value: anything that NumPy takes for an array.
        shape: one entry an axis: an integer is required, a letter such as `"B"` takes any size.
        dtype: dtype to convert to; None leaves it alone.

    Example:
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
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted})")
    return array


def expect_ids(name, value, size, *shape, keep=True):
    """Returns integer ids below `size`; where `keep` is False any id may stand and 0 comes back.

    NumPy reads a negative id from the end of a table, silently: hence the check from below.
    """
    ids = expect(name, value, *shape, dtype=None)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} has dtype {ids.dtype}, expected integers")
    ids = np.where(keep, ids, 0)
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        received = f"{ids.min()} to {ids.max()}"
        raise ValueError(f"{name} has ids from {received}, expected 0 to {size - 1}")
    return ids


def expect_weights(weights, gates):
    """Returns weights as float64: kernel (D, G*H), recurrent_kernel (H, G*H), bias (G*H,)."""
    units = np.shape(weights.recurrent_kernel)[0]
    return type(weights)(
        expect("kernel", weights.kernel, "D", gates * units),
        expect("recurrent_kernel", weights.recurrent_kernel, units, gates * units),
        expect("bias", weights.bias, gates * units),
    )


def expect_sequence(x, mask, input_dim):
    """Returns x (B, T, D) with zeros where it is masked, and the mask (B, T), all True by default.

    What stands in a masked step is dropped here, because 0 * NaN is NaN in every product after.
    """
    x = expect("x", x, "B", "T", input_dim)
    if mask is None:
        return x, np.ones(x.shape[:2], bool)
    mask = expect("mask", mask, *x.shape[:2], dtype=bool)
    return np.where(mask[..., None], x, 0.0), mask


def expect_or_zeros(name, value, *shape):
    """Returns `value` checked, or float64 zeros of that shape when it is None."""
    return np.zeros(shape) if value is None else expect(name, value, *shape)

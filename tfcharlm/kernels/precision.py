"""The precision of matrix products, and of everything that is computed from them."""

import functools
import re
from pathlib import Path

import tensorflow as tf


def at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    """Casts bfloat16 and float16 tensors to float32, and returns any other tensor as it is.

    bfloat16 has eight bits of mantissa. A sum of hundreds of small updates would lose all of them.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import at_least_float32
    >>> [at_least_float32(tf.ones((), dtype)).dtype.name for dtype in ("bfloat16", "float32", "float64")]
    ['float32', 'float32', 'float64']
    """
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.bfloat16, tf.float16) else tensor


def at_least_float32_dtype(dtype: tf.DType | str) -> tf.DType:
    """The dtype of states and of elementwise operations, when matrix products are in `dtype`.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import at_least_float32_dtype
    >>> at_least_float32_dtype(tf.bfloat16), at_least_float32_dtype("float64")
    (tf.float32, tf.float64)
    """
    return tf.float32 if dtype in (tf.bfloat16, tf.float16) else tf.as_dtype(dtype)


class MatMul:
    """Matrix products of operands in `dtype`, returned in float32 at least.

    A processor without bfloat16 instructions would convert the matrix to float32 again at every step. On such a
    processor the operands are rounded to bfloat16 once and multiplied as float32: the products are the same, and the
    sums are not rounded. A processor with bfloat16 instructions adds in float32 and rounds each result to bfloat16.

    Args:
        dtype: of the operands.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import MatMul
    >>> matmul = MatMul(tf.bfloat16)
    >>> a = matmul.cast(tf.constant([[1.001, 2.0]]))
    >>> matmul(a, a, transpose_b=True).numpy()        # 1.001 is 1 in bfloat16
    array([[5.]], dtype=float32)
    """

    def __init__(self, dtype: tf.DType | str) -> None:
        self.dtype = tf.as_dtype(dtype)
        self.keeps_dtype = at_least_float32_dtype(dtype) == self.dtype or (
            self.dtype == tf.bfloat16 and _processor_has_bfloat16()
        )

    def cast(self, tensor: tf.Tensor) -> tf.Tensor:
        """An operand, rounded to `dtype` once, so that a loop need not do it at every step."""
        tensor = tf.cast(tensor, self.dtype)
        return tensor if self.keeps_dtype else tf.cast(tensor, at_least_float32_dtype(self.dtype))

    def __call__(self, a: tf.Tensor, b: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False) -> tf.Tensor:
        """The product of two operands from `cast`."""
        return at_least_float32(tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b))


@functools.cache
def _processor_has_bfloat16() -> bool:
    try:
        return bool(re.search(r"\b(amx_bf16|avx512_bf16)\b", Path("/proc/cpuinfo").read_text()))
    except OSError:
        return False

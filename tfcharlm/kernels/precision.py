"""In which numbers the products are computed: those of the policy where the processor has them, else their values."""

import functools
import re
from pathlib import Path

import tensorflow as tf


def at_least_float32(tensor):
    """float32 at least: bfloat16 has eight bits of mantissa, and a sum of hundreds of small updates loses them all."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.bfloat16, tf.float16) else tensor


def at_least_float32_dtype(dtype):
    """The dtype of states and of everything elementwise, for products in `dtype`."""
    return tf.float32 if dtype in (tf.bfloat16, tf.float16) else tf.as_dtype(dtype)


class MatMul:
    """Matrix products of operands in `dtype`, returned in float32 at least.

    A processor without bfloat16 instructions would convert the matrix to float32 again at every step. There the
    operands are rounded to bfloat16 once and multiplied as float32: the same products, and the sums are not rounded. A
    processor that has them adds in float32 and rounds each result to bfloat16.

    Example:

    >>> matmul = MatMul(tf.bfloat16)
    >>> a = matmul.cast(tf.constant([[1.001, 2.0]]))
    >>> matmul(a, a, transpose_b=True).numpy()        # 1.001 is 1 in bfloat16
    array([[5.]], dtype=float32)
    """

    def __init__(self, dtype):
        self.dtype = tf.as_dtype(dtype)
        self.native = at_least_float32_dtype(dtype) == self.dtype or (
            self.dtype == tf.bfloat16 and _processor_has_bfloat16()
        )

    def cast(self, tensor):
        tensor = tf.cast(tensor, self.dtype)
        return tensor if self.native else tf.cast(tensor, at_least_float32_dtype(self.dtype))

    def __call__(self, a, b, transpose_a=False, transpose_b=False):
        return at_least_float32(tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b))


@functools.cache
def _processor_has_bfloat16():
    try:
        return bool(re.search(r"\b(amx_bf16|avx512_bf16)\b", Path("/proc/cpuinfo").read_text()))
    except OSError:
        return False

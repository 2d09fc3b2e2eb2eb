"""What runs here: kernels and why, versions, vector instructions, threads."""

import platform
import re
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf

from tfcharlm.kernels.native import library, why_not_native
from tfcharlm.kernels.shards import available_cores

PACKAGES = ("tfcharlm", "tensorflow", "keras", "numpy")
VECTORS = r"\b(avx2|fma|avx512f|avx512_bf16|amx_bf16|asimd|sve2?)\b"


def show_config() -> None:
    """Prints which kernels run and why, and what they run on: what to add to a report of an error.

    Example:

    >>> import tfcharlm
    >>> tfcharlm.show_config()
    tfcharlm ..., tensorflow ..., keras ..., numpy ..., Python ...
    Kernels: ...
    Vector instructions: ...
    Threads: ...
    """
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES) + f", Python {platform.python_version()}")
    reason = why_not_native()
    print(f"Kernels: {f'those of TensorFlow; {reason}' if reason else f'native, {library().vectors}'}")
    print(f"Vector instructions: {', '.join(_vector_instructions()) or 'unknown'}")
    print(f"Threads: {_threads()}")


def _vector_instructions():
    try:
        return sorted(set(re.findall(VECTORS, Path("/proc/cpuinfo").read_text())))
    except OSError:
        return []


def _threads():
    def count(number):
        return number or "as many as TensorFlow likes"

    operations = count(tf.config.threading.get_inter_op_parallelism_threads())
    within = count(tf.config.threading.get_intra_op_parallelism_threads())
    return f"{available_cores()} cores; operations at a time: {operations}; threads of each: {within}"

"""The compiled library with the native kernels: whether it is there, whether it can be used, and why not.

setup.py builds it where there is a C compiler. It uses TensorFlow's C API and nothing else of TensorFlow, so the same
file works with other versions.
"""

import contextlib
import contextvars
import ctypes
import functools
import importlib.machinery
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import tensorflow as tf

from tfcharlm.kernels.shards import is_for_every_machine

_on = contextvars.ContextVar("native kernels", default=True)
# Words in the names of modules of Keras, TensorFlow and tf2onnx that make a graph for another program.
SAVING = {"export", "saved_model", "lite", "tf2onnx"}
NOT_BUILT = (
    "they were not built when tfcharlm was installed, because there was no C compiler or it failed; with one, type: "
    "pip install --no-cache-dir --force-reinstall --no-deps tfcharlm"
)
# How the library begins to say so; there is nothing to do about it.
OLD_PROCESSOR = "the processor"


class Library(NamedTuple):
    """The compiled library.

    Args:
        operations: the module of its operations; None if they cannot be used.
        vectors: the vector instructions that were chosen for this processor, such as "AVX2"; empty if none.
        problem: why they cannot be used, in one line; None if they can.
    """

    operations: ModuleType | None
    vectors: str
    problem: str | None


@functools.cache
def library() -> Library:
    """Loads the library, once in a process.

    Returns:
        A `Library`, whether or not it could be loaded.

    Example:

    >>> from tfcharlm.kernels.native import library
    >>> loaded = library()
    >>> (loaded.operations is None) == (loaded.problem is not None)
    True
    """
    return load(Path(__file__).parent)


def load(directory: Path) -> Library:
    """Loads the library of a directory; a warning of one line says if there is one that cannot be loaded."""
    paths = [directory / f"recurrence{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return Library(None, "", NOT_BUILT)
    try:
        operations = tf.load_op_library(str(path))
        loaded = ctypes.CDLL(str(path))
        problem, vectors = (
            (ctypes.c_char * size).in_dll(loaded, f"tfcharlm_{name}").value.decode()
            for name, size in (("problem", 256), ("vectors", 32))
        )
    except (OSError, ValueError, tf.errors.OpError) as error:
        operations, vectors, problem = None, "", f"{path.name} cannot be loaded: {' '.join(str(error).split())[:200]}"
    if not problem:
        return Library(operations, vectors, None)
    if not problem.startswith(OLD_PROCESSOR):
        warnings.warn(f"Native kernels are not used: {problem}. The kernels in TensorFlow do the work.", stacklevel=2)
    return Library(None, vectors, problem)


@contextlib.contextmanager
def native_kernels(on: bool) -> Iterator[None]:
    """Turns native kernels off, or on again, for everything that is called or traced inside.

    A `tf.function` keeps the kernels with which it was traced. Trace a concrete function inside
    `native_kernels(False)` before it is saved as it is, as in `tf.saved_model.save(..., signatures=concrete)` or
    `TFLiteConverter.from_concrete_functions`; and a `tf.function` that is first called by itself and then inside one
    with `jit_compile=True`. The environment variable TFCHARLM_NATIVE=0 turns native kernels off for a whole process.

    Args:
        on: whether native kernels may be used.

    Example:

    >>> import tfcharlm
    >>> layer = tfcharlm.RNN(tfcharlm.LSTMCell(5))
    >>> with tfcharlm.native_kernels(False):
    ...     layer.fallback_reason
    'native kernels are off: native_kernels(False)'
    """
    token = _on.set(on)
    try:
        yield
    finally:
        _on.reset(token)


def why_not_native(dtype: tf.DType | str = tf.float32) -> str | None:
    """Why native kernels do not run here and now, in one line; None if they do.

    Args:
        dtype: of the operands of matrix products. float32 by default, the only one that they have.

    Example:

    >>> from tfcharlm.kernels import native_kernels, why_not_native
    >>> with native_kernels(False):
    ...     why_not_native()
    'native kernels are off: native_kernels(False)'
    """
    if not _on.get():
        return "native kernels are off: native_kernels(False)"
    if os.environ.get("TFCHARLM_NATIVE", "1") == "0":
        return "native kernels are off: TFCHARLM_NATIVE=0"
    if dtype != "float32":
        return f"native kernels are not used: they compute in float32, and the layer in {tf.as_dtype(dtype).name}"
    if library().problem:
        return f"native kernels are not used: {library().problem}"
    if tf.config.get_visible_devices("GPU"):
        return "native kernels are not used: TensorFlow uses a GPU"
    reason = why_portable()
    return reason and f"native kernels are not used: {reason}"


def why_portable() -> str | None:
    """Why the graph that is being made must have no operations but those that every program knows; None if it may.

    Example:

    >>> from tfcharlm.kernels import why_portable
    >>> why_portable() is None                                      # no graph is being made
    True
    """
    if is_for_every_machine():
        return "the graph is saved for other programs"
    if tf.executing_eagerly():
        return None
    if _is_saving():
        return "the graph is saved for other programs"
    if _is_compiled_by_xla():
        return "XLA compiles the graph"
    return None


def _is_saving():
    frame = sys._getframe()
    while frame is not None:
        package, *parts = frame.f_globals.get("__name__", "").split(".")
        if package in ("keras", "tensorflow", "tf2onnx") and SAVING & {package, *parts}:
            return True
        frame = frame.f_back
    return False


def _is_compiled_by_xla():
    """Whether the graph that is being made is for XLA, which has none of our operations.

    TensorFlow marks a branch for an executor that lowers it. XLA has none; nor has TensorFlow's executor of a single
    thread.
    """
    with_branch = tf.function(lambda x: tf.cond(x > 0, lambda: x, lambda: -x), autograph=False).get_concrete_function(
        tf.TensorSpec([])
    )
    branches = [operation for operation in with_branch.graph.get_operations() if operation.type.endswith("If")]
    return bool(branches) and not any("_lower_using_switch_merge" in branch.node_def.attr for branch in branches)

"""Refuses every backend of Keras but TensorFlow, before anything of this package imports Keras."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def check_keras_backend() -> None:
    """Raises an ImportError unless Keras can be imported and runs on TensorFlow.

    Keras takes its backend from the environment variable `KERAS_BACKEND`, or else from `keras.json`. An import of Keras
    on another backend may fail anywhere, so both are read here first.

    Example:

    >>> from tfcharlm.keras_backend import check_keras_backend
    >>> check_keras_backend()
    """
    if "keras" not in sys.modules:
        _check(*_configured())
        try:
            with _no_matplotlib():
                import keras
        except ImportError:
            raise
        except Exception as error:
            message = " ".join(str(error).split())
            raise ImportError(
                f"Keras cannot be imported: {message[:100]}. See {_keras_json()} and the environment variables KERAS_*."
            ) from error
    import keras

    _check(keras.config.backend(), "Keras, which was imported before tfcharlm")


@contextlib.contextmanager
def _no_matplotlib() -> Iterator[None]:
    """Hides matplotlib while Keras is imported, which would import it for galleries that nobody asked for.

    That takes a third of a second. Whatever draws something later imports it as usual.
    """
    if "matplotlib" in sys.modules:
        yield
        return
    sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["matplotlib"]


def _check(backend: object, source: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            f"The Keras backend must be tensorflow; received {backend!r:.40}. "
            f"Type export KERAS_BACKEND=tensorflow before Python starts. It comes from {source}."
        )


def _configured():
    """The backend that Keras will choose, and what it is chosen by."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "the environment variable KERAS_BACKEND"
    path = _keras_json()
    try:
        backend = json.loads(path.read_text(encoding="utf-8")).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):
        # Keras ignores some of these and stops at others.
        backend = "tensorflow"
    return backend, f"the file {path}"


def _keras_json() -> Path:
    if "KERAS_HOME" in os.environ:
        directory = Path(os.environ["KERAS_HOME"]).expanduser()
    else:
        home = os.path.expanduser("~")  # noqa: PTH111, which raises an error without a home
        directory = Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"
    return directory / "keras.json"


check_keras_backend()

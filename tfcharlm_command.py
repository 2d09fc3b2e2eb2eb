"""The `tfcharlm` command.

It is outside the package for two reasons. TensorFlow reads its environment variables when it is imported, and `import
tfcharlm` imports TensorFlow. And that takes seconds, which help, mistakes and the picture of a learning curve do not
need.
"""

import contextlib
import importlib.util
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import BinaryIO

BEGAN = time.monotonic()
# With 2,637 MiB `tfcharlm sample names` aborts on two cores, with 2,930 MiB it works.
ADDRESS_SPACE = 2_816 << 20
# The packages whose `__init__.py` needs TensorFlow, although some of their modules do not.
PACKAGES = (
    "tfcharlm",
    *(f"tfcharlm.{room}" for room in ("artefact", "generation", "serving", "text", "training")),
)


def main() -> None:
    """Runs the command line, which starts TensorFlow when a command needs it."""
    _open_closed_streams()
    # Without a home that it can write to, matplotlib would say so at length, and then work.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        _import_without_tensorflow()
        from tfcharlm import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main(BEGAN, start)


def _open_closed_streams() -> None:
    """Opens the outputs that were closed (`2>&-`) on nothing, so that no file is opened in their place."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_WRONLY)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))


def _import_without_tensorflow() -> None:
    """Lets modules of the package be imported without the `__init__.py` of the packages they are in."""
    if "tfcharlm" in sys.modules:
        return  # by whoever calls `main`
    for name in PACKAGES:
        specification = importlib.util.find_spec(name)
        if specification is not None:
            sys.modules[name] = importlib.util.module_from_spec(specification)


def start() -> None:
    """Sets the environment for TensorFlow, and imports the whole package.

    Raises:
        ImportError: Keras has another backend than TensorFlow, or something is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow turns oneDNN on by itself only on processors with newer vector instructions. But products of tall
    # matrices are a tenth faster with it on AVX2, too (benchmarks/results/training_step.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    _check_address_space()
    if not hasattr(sys.modules.get("tfcharlm"), "__version__"):
        # What was imported without its package is imported again, with it.
        for name in [name for name in sys.modules if name.partition(".")[0] == "tfcharlm"]:
            del sys.modules[name]
    with _says_what_takes_so_long(), _quiet_standard_error():
        from tfcharlm import configure_threads
    configure_threads()


@contextlib.contextmanager
def _says_what_takes_so_long() -> Iterator[None]:
    """On a terminal, says that TensorFlow starts, and takes it back when it has started."""
    is_terminal = sys.stderr.isatty()
    if is_terminal:
        print("Starting TensorFlow ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _check_address_space() -> None:
    """Ends the process if a limit leaves less than TensorFlow needs, with which it would abort or wait forever."""
    try:
        import resource
    except ImportError:
        return  # this system has no such limits
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit < ADDRESS_SPACE:
        print(
            f"tfcharlm: the limit of the address space must be {ADDRESS_SPACE >> 20:,} MiB or more for TensorFlow; "
            f"received {limit >> 20:,} MiB. Type ulimit -v unlimited.",
            file=sys.stderr,
        )
        sys.exit(2)


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Holds back what native code prints while it is loaded, and prints it only if loading fails.

    Some messages about CUDA and processor flags come before TensorFlow has read the log level.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with _file_without_a_name() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            held_back.seek(0)
            os.write(original, held_back.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _file_without_a_name() -> BinaryIO:
    """A file in memory where the system has such files: every directory may be read-only, as in a container."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("tfcharlm"), "w+b")
    return tempfile.TemporaryFile()


if __name__ == "__main__":
    main()

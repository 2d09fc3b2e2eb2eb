"""The `tfcharlm` command.

It is outside the package, because TensorFlow reads its environment variables when it is imported, and `import tfcharlm`
imports TensorFlow.
"""

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator

BEGAN = time.monotonic()
# With 2,637 MiB `tfcharlm sample names` aborts on two cores, with 2,930 MiB it works.
ADDRESS_SPACE = 2_816 << 20


def main() -> None:
    """Sets the environment for TensorFlow, and runs the command line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow turns oneDNN on by itself only on processors with newer vector instructions. But products of tall
    # matrices are a tenth faster with it on AVX2, too (benchmarks/results/training_step.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    _check_address_space()
    # Without a home that it can write to, matplotlib would say so at length, and then work.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        with _quiet_standard_error(), _no_matplotlib():
            from tfcharlm import cli, configure_threads
    except KeyboardInterrupt:
        sys.exit(130)
    except ImportError as error:
        # Such as another backend of Keras than TensorFlow.
        print(f"tfcharlm: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    configure_threads()
    cli.main(BEGAN)


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
    with tempfile.TemporaryFile() as held_back:
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


if __name__ == "__main__":
    main()

"""What `load_model` does with a directory by Python's own account: files that it opens, code that it runs."""

import os
import sys
from pathlib import Path

import keras

import tfcharlm
from helpers.exported_directories import MANIFEST, seal

# Filled by the classes and functions below if a directory gets them called.
TOUCHED = []


@keras.saving.register_keras_serializable(package="stranger", name="Cell")
class RegisteredCell(keras.layers.LSTMCell):
    def __init__(self, *arguments, **named):
        TOUCHED.append("cell")
        super().__init__(*arguments, **named)


@keras.saving.register_keras_serializable(package="stranger", name="function")
def registered_function(x):
    TOUCHED.append("function")
    return x


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return TOUCHED.append, ("pickle",)


def audited(function):
    """What `function` does, as a list of (event, arguments) of Python's audit hooks."""
    if not hasattr(sys, "_events_of_tests"):
        sys._events_of_tests = None

        # A hook cannot be removed again.
        def hook(event, arguments):
            if sys._events_of_tests is not None:
                sys._events_of_tests.append((event, arguments))

        sys.addaudithook(hook)
    sys._events_of_tests = events = []
    try:
        function()
    finally:
        sys._events_of_tests = None
    return events


# Listing a directory is harmless.
HARMLESS = ("os.listdir", "os.scandir", "pathlib.Path.glob", "object.", "sys._getframe", "array.", "builtins.id", "gc.")


def misdeeds(events, directory):
    """Events that reading a directory does not need: another file, a file to be written, code, a process, a socket."""
    for event, arguments in events:
        if event == "open":
            path, mode, flags = arguments
            # A name without a folder is opened in a folder that is open already.
            named = isinstance(path, str) and path == Path(path).name and mode is None
            inside = isinstance(path, int) or named or Path(path).resolve().is_relative_to(directory)
            if inside and not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and set(mode or "r") <= set("rb"):
                continue
        elif event.startswith(HARMLESS):
            continue
        yield event, arguments


def assert_refused(directory, message, path=None):
    """`load_model` refuses a directory in one line that has `message`, and does nothing but read it."""
    errors = []

    def load():
        try:
            tfcharlm.load_model(path or directory)
        except ValueError as error:
            errors.append(str(error))

    before = sorted(directory.parent.rglob("*"))
    events = audited(load)
    assert errors, "it was loaded"
    assert message in errors[0]
    assert errors[0].isprintable() and len(errors[0]) <= 300
    assert list(misdeeds(events, directory)) == []
    assert TOUCHED == []
    assert sorted(directory.parent.rglob("*")) == before


def assert_hostile_is_refused(directory, spoil, message):
    """`load_model` refuses a spoiled directory whose manifest agrees, and `inspect_model` reports it."""
    spoil(directory)
    if not (directory / "assets.extra").is_symlink() and not (directory / MANIFEST).is_symlink():
        seal(directory)
    assert_refused(directory, message)
    inspection = tfcharlm.inspect_model(directory)
    assert not inspection.is_plain_export
    assert any(message in difference for difference in inspection.differences) or message == "cannot be loaded"

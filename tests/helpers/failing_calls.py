"""Calls to the system that change files, counted, so that a test can let any one of them go wrong."""

import os

NAMES = ("open", "write", "fsync", "mkdir", "rename", "unlink", "rmdir")


class Killed(BaseException):
    """What stands for a kill inside one process: nothing that was written catches it."""


class Calls:
    """Takes the place of the functions of `os`; they do their work until `fault` does something else.

    Args:
        fault: called with the number of the call, from 0 on, its name, the function itself and its arguments; returns
            whether the call goes on as it should.
    """

    def __init__(self, fault):
        self.number, self._fault, self._functions = 0, fault, {name: getattr(os, name) for name in NAMES}

    def __enter__(self):
        for name, function in self._functions.items():
            setattr(os, name, self._counted(name, function))
        return self

    def __exit__(self, *error):
        for name, function in self._functions.items():
            setattr(os, name, function)

    def _counted(self, name, function):
        def call(*arguments, **named):
            number, self.number = self.number, self.number + 1
            self._fault(number, name, function, arguments)
            return function(*arguments, **named)

        return call


def killed_at(place, half=False):
    """A fault: a kill at one call, or in the middle of it if it is a write; the dead do nothing more."""

    def fault(number, name, function, arguments):
        if number == place and half and name == "write":
            function(arguments[0], arguments[1][: len(arguments[1]) // 2])
        if number >= place:
            raise Killed

    return fault


def refused(code, places, names=NAMES):
    """A fault: the calls with these numbers, if they have one of these names, fail with an error of the system."""

    def fault(number, name, function, arguments):
        if number in places and name in names:
            raise OSError(code, os.strerror(code))

    return fault

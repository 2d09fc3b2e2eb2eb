"""Programs in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def environment(**variables):
    """The variables of a quiet process on the CPU that finds `helpers`."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | quiet | {"PYTHONPATH": os.pathsep.join(paths)} | variables


def run(*command, variables=None, **arguments):
    """What a command that must succeed writes to its standard output."""
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(**variables or {}), check=True, **arguments
    ).stdout


def run_python(program, *arguments, **named):
    """The same for the source of a Python program."""
    return run(sys.executable, "-c", program, *map(str, arguments), **named)

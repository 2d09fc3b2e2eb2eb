"""How long commands take: to the first output, and to the end. Two source trees take turns.

    python benchmarks/commands.py                        # this tree
    python benchmarks/commands.py --before ../old        # beside another one

Each command runs in a process of its own, in a new directory, without a terminal; the compiled files of Python are
there already. Medians of five rounds. The output is benchmarks/results/commands.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alternating import environment

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "commands.md"
TEXT = "To be, or not to be: that is the question.\n" * 20
COMMANDS = {
    "--version": ["--version"],
    "--help": ["--help"],
    "train --help": ["train", "--help"],
    "a command that does not exist": ["trian"],
    "train, without a name": ["train", "text.txt"],
    "train, a file that does not exist": ["train", "nothing.txt", "--name", "x", "--steps", "9"],
    "train, an option out of range": ["train", "text.txt", "--name", "x", "--steps", "9", "--dropout", "2"],
    "sample, a model that does not exist": ["sample", "nothing"],
    "plot curve": ["plot", "curve", "MODEL", "--output", "curve.png"],
    "sample, 400 characters": ["sample", "MODEL", "--seed", "1"],
    "score, 860 characters": ["score", "MODEL", "text.txt"],
    "inspect": ["inspect", "MODEL"],
    "plot surprise, 860 characters": ["plot", "surprise", "MODEL", "text.txt", "--output", "page.html"],
    "import tensorflow": None,
}


def run(tree, arguments, model):
    """Seconds to the first byte of output, or of an error, and to the end."""
    if arguments is None:
        command = [sys.executable, "-c", "import tensorflow; print()"]
    else:
        arguments = [str(model) if argument == "MODEL" else argument for argument in arguments]
        command = [sys.executable, "-m", "tfcharlm_command", *arguments]
    variables = os.environ | {"PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "text.txt").write_text(TEXT)
        began = time.perf_counter()
        # TensorFlow alone prints messages while it is imported.
        errors = subprocess.DEVNULL if arguments is None else subprocess.STDOUT
        process = subprocess.Popen(
            command, cwd=directory, env=variables, stdout=subprocess.PIPE, stderr=errors, bufsize=0
        )
        process.stdout.read(1)
        first = time.perf_counter() - began
        process.stdout.read()
        process.wait()
        return first, time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=Path, help="the directory of another version")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    trees = [*([options.before.resolve()] if options.before else []), ROOT]
    model = ROOT / "saved_models" / "shakespeare"
    times = {}
    for _ in range(options.rounds):
        for name, arguments in COMMANDS.items():
            for tree in trees:
                times.setdefault((name, tree), []).append(run(tree, arguments, model))
    lines = [f"{environment()}; `python benchmarks/commands.py`, medians of {options.rounds}", ""]
    lines += ["Seconds to the first output, and to the end.", ""]
    lines += [f"| Command | {'before | ' if len(trees) > 1 else ''}now |", "|---|" + "---|" * len(trees)]
    for name in COMMANDS:
        cells = []
        for tree in trees:
            first, end = (statistics.median(column) for column in zip(*times[name, tree], strict=True))
            cells.append(f"{first:.2f}, {end:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

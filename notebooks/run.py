"""Runs the notebooks of this folder from top to bottom and writes their outputs in place.

    python notebooks/run.py             # all five, a quarter of an hour; `make notebooks` does the same
    python notebooks/run.py 3_words     # some of them

With TFCHARLM_QUICK=1 in the environment, each notebook cuts its training short.
"""

import os
import sys
import time
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parent


def execute(notebook: nbformat.NotebookNode) -> None:
    """Runs a notebook and stores the outputs in it. An error in a cell is raised."""
    # A backend chosen in the shell would replace the one that shows figures in the notebook.
    os.environ.pop("MPLBACKEND", None)
    client = nbclient.NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        # TensorFlow's C++ code prints while it loads. That belongs in the terminal, not in the notebook.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()
    # The version of the interpreter would make a difference in every commit.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def main(names: list[str]) -> None:
    """Runs the notebooks with these names, or all of them, and prints how long each took."""
    paths = [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        start = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        execute(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

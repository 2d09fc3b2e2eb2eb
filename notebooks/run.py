"""Runs the notebooks of this folder from top to bottom and writes their outputs in place.

    python notebooks/run.py             # all five, a quarter of an hour; `make notebooks` does it
    python notebooks/run.py 3_words     # some of them

With TFCHARLM_QUICK=1 in the environment each cuts its training short.
"""

import os
import sys
import time
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parent


def execute(notebook):
    """Runs a notebook; an error in a cell is raised."""
    # A shell that has chosen where figures go would have them go nowhere.
    os.environ.pop("MPLBACKEND", None)
    client = nbclient.NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        # What TensorFlow's C++ says while it is loaded belongs to the terminal and to no page.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()
    # Which interpreter it was is nothing to commit.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def main(names):
    paths = [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        began = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        execute(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The notebooks: what is committed is a whole run in order, and in a short run of each every assertion still holds."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = ["1_rnn", "2_lstm", "3_words", "4_names", "5_shakespeare"]


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_five():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_was_executed_in_order(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    text = nbformat.writes(notebook)
    assert len(text) < 1_000_000
    # A path of whoever executed it, or a warning, is nothing to read.
    assert not re.search(r"/(home|root|tmp|work|Users)/|Warning:", text)
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture"
    assert any(re.search(r"^## .*From the loop to the package", cell.source, re.M) for cell in notebook.cells)
    assert sum("assert" in cell.source for cell in cells) >= 5, "nothing holds the text to its claims"


@pytest.mark.slow  # up to a minute each: most of it is making graphs, in a short run as in a long one
@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_holds_every_assertion(name, monkeypatch):
    monkeypatch.setenv("TFCHARLM_QUICK", "1")
    notebook = read(name)
    runpy.run_path(str(FOLDER / "run.py"))["execute"](notebook)
    assert all(cell.execution_count for cell in code(notebook))

"""One HTML file with a model in it: opened in a browser, it writes, scores and colors text, without any server."""

import base64
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcharlm.artefact.edge_files import described_vocabulary, named_states
from tfcharlm.artefact.known_cells import known_cells
from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.atomic_files import replace_file
from tfcharlm.checks import short_repr
from tfcharlm.layers import GRUCell, LSTMCell, RNNCell
from tfcharlm.pages import model_page

DTYPES = ("float16", "int8")
CELLS: dict[type, str] = {RNNCell: "rnn", LSTMCell: "lstm", GRUCell: "gru"}


def export_html(
    model: ExportableModel, filepath: Path | str, dtype: str = "int8", name: str | None = None, prompt: str = ""
) -> Path:
    """Writes a model as one HTML file: a page that continues and scores texts, offline.

    The page has the weights, the step of the cells in JavaScript and WebAssembly, and the noise of `CharLM.generate`.
    So the text for a prompt and a seed is the same, except where rounding changes a draw. It loads nothing from
    elsewhere.

    Args:
        model: a `CharLM` whose cells are `RNNCell`, `LSTMCell`, `GRUCell` or those of Keras with the same arrays, with
            the usual activations, tanh and the logistic function.
        filepath: the file to make, ending in `.html`; nothing is overwritten.
        dtype: of the weight matrices: "int8" (default) with a scale for each column, because it is half the size, twice
            as fast and hardly less exact (docs/export.md); or "float16". Biases are float32.
        name: the title of the page; None (default) for the name of the file.
        prompt: the prompt that the page starts with; empty by default.

    Returns:
        The path.

    Raises:
        FileExistsError: the file exists already.
        ValueError: `filepath` has another ending, the dtype is unknown, or the page cannot compute a cell.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> from tfcharlm.artefact import export_html
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> path = export_html(model, tempfile.mkdtemp() + "/abc.html")
    >>> "<title>abc</title>" in path.read_text()
    True
    """
    target = Path(filepath)
    if target.suffix != ".html":
        raise ValueError(f"filepath must end in .html, such as {target.with_suffix('.html')}; received {target}.")
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already; remove it or choose another name.")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; received {short_repr(dtype)}.")
    page = model_page(_described(model, dtype, target.stem if name is None else name), prompt)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_file(target, lambda path: path.write_text(page, encoding="utf-8"))
    return target


def _described(model, dtype, name):
    named_states(model)
    return {
        "name": name,
        **described_vocabulary(model.vocabulary),
        "embedding_dim": model.embedding.embeddings.shape[1],
        "embeddings": _array(model.embedding.embeddings, "float16"),
        "layers": list(_layers(model, dtype)),
        "members": model.wiring.members,
        "head_reads": [layer for sources in model.wiring.head_reads() for layer in sources],
        "head_kernel": _array(model.head.kernel, dtype),
        "head_bias": _array(model.head.bias, "float32"),
    }


def _layers(model, dtype):
    for i, layer in enumerate(model.recurrent):
        cells = list(known_cells(layer.cells))
        if len(cells) != 1:
            raise ValueError(f"a layer for a page must have one cell; received {len(cells)}.")
        yield _layer(cells[0], dtype) | {"reads": list(model.wiring.layer_reads(i))}


def _layer(cell, dtype) -> dict[str, Any]:
    activations = {getattr(cell, key, None) for key in ("activation", "recurrent_activation")}
    usual = {keras.activations.tanh, keras.activations.sigmoid, None}
    if type(cell) not in CELLS or not activations <= usual or not getattr(cell, "reset_after", True):
        known = ", ".join(kind.__name__ for kind in CELLS)
        raise ValueError(
            f"a cell for a page must be one of {known} with tanh, the logistic function and reset_after; "
            f"received {type(cell).__name__}."
        )
    columns = cell.recurrent_kernel.shape[1]
    bias = np.asarray(cell.bias) if cell.use_bias else np.zeros(columns, np.float32)
    bias, recurrent_bias = bias if bias.ndim == 2 else (bias, None)
    return {
        "cell": CELLS[type(cell)],
        "units": cell.units,
        "cap_input_gate": getattr(cell, "cap_input_gate", False),
        # Token vectors may be of any size, and 8-bit products need inputs from -1 to 1.
        "kernel": _array(cell.kernel, "float16"),
        "recurrent_kernel": _array(cell.recurrent_kernel, dtype),
        "bias": _array(bias, "float32"),
        "recurrent_bias": None if recurrent_bias is None else _array(recurrent_bias, "float32"),
    }


def _array(values, dtype) -> dict[str, Any]:
    values = np.asarray(values, np.float32)
    described: dict[str, Any] = {"shape": list(values.shape), "type": dtype}
    if dtype == "int8":
        # Symmetric, with one scale for each column. A column of zeros has any scale.
        scale = np.maximum(np.abs(values).max(axis=0), 1e-30) / 127
        values = np.round(values / scale)
        described["scale"] = _array(scale, "float32")
    elif dtype == "float16":
        largest = np.finfo(np.float16).max
        values = np.clip(values, -largest, largest)
    little_endian = np.dtype(dtype).newbyteorder("<")
    return described | {"data": base64.b64encode(values.astype(little_endian).tobytes()).decode()}

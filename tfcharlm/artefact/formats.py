"""All formats of an export, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfcharlm.artefact.export import export_saved_model
from tfcharlm.artefact.html_page import export_html
from tfcharlm.artefact.litert import export_litert
from tfcharlm.artefact.onnx_step import export_onnx
from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.checks import short_repr

# The function that writes a format, and the options that it takes.
FORMATS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "tf_saved_model": (export_saved_model, ()),
    "litert": (export_litert, ()),
    "onnx": (export_onnx, ("dtype",)),
    "html": (export_html, ("dtype", "name", "prompt")),
}


def export_model(model: ExportableModel, filepath: Path | str, format: str, **options: Any) -> Path:
    """Writes a model in one of the `FORMATS`; see `CharLM.export`.

    Args:
        model: a `CharLM`.
        filepath: the directory or file to make.
        format: a key of `FORMATS`.
        **options: options of the function that writes the format.

    Returns:
        The path.

    Raises:
        ValueError: the format is unknown, or does not have an option.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> from tfcharlm.artefact import export_model
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> export_model(model, tempfile.mkdtemp() + "/abc.html", "html", dtype="int8").name
    'abc.html'
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; received {short_repr(format)}.")
    write, known = FORMATS[format]
    for option in options:
        if option not in known:
            others = ", ".join(known) or "none"
            raise ValueError(f"export has no argument {option!r} for format={format!r}; there are: {others}.")
    return write(model, filepath, **options)

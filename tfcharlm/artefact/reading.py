"""An exported directory becomes data: the parts of a model and the arrays of its weights. Nothing is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfcharlm.artefact import config_schema, layout, tensor_bundle
from tfcharlm.artefact.manifest import File, check_manifest, read_listed
from tfcharlm.artefact.safe_files import parse_json

MAX_INDEX = 2**20


def read(directory: Path | str) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Reads an export, after checking that it is one.

    Args:
        directory: `saved_models/<name>/<version>`.

    Returns:
        `(parts, arrays)`: the arguments of `CharLM` by name, and the arrays of its weights in their order.

    Raises:
        OSError: a file cannot be read.
        ValueError: the directory is not an export of this package, or has been changed.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> from tfcharlm.artefact import read
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(5)], embedding_dim=2)
    >>> parts, arrays = read(model.export(tempfile.mkdtemp() + "/abc/1"))
    >>> parts["embedding_dim"], arrays[0].shape
    (2, (4, 2))
    """
    files, differences = check_manifest(directory)
    if differences:
        raise ValueError(differences[0])
    parts = read_config(directory, files)["model"]
    # The weights must be there before memory is allocated for what the configuration asks for.
    offsets, weights = check_weights(directory, files, parts)
    data = read_listed(directory, layout.DATA, files, files[layout.DATA].bytes)
    return parts, tensor_bundle.read_weights(data, offsets, weights)


def read_config(directory: Path | str, files: Mapping[str, File]) -> dict[str, Any]:
    """Reads and checks the configuration of an export.

    Args:
        directory: the export.
        files: its files, as `check_manifest` returned them.

    Returns:
        The configuration, as `config_schema.parse` returns it.

    Raises:
        ValueError: it is missing, is not strict JSON, or is not the configuration of an export.
    """
    content = read_listed(directory, layout.CONFIG, files, config_schema.MAX_BYTES)
    config = config_schema.parse(parse_json(content))
    if config["model"]["vocabulary"].fingerprint != config["vocabulary_fingerprint"]:
        raise ValueError("its vocabulary does not have the fingerprint that was exported with it")
    return config


def check_weights(
    directory: Path | str, files: Mapping[str, File], parts: dict[str, Any]
) -> tuple[list[int], list[tuple[tuple[int, ...], str]]]:
    """Compares the index of an export's variables with its configuration. No weight is read.

    Args:
        directory: the export.
        files: its files, as `check_manifest` returned them.
        parts: the arguments of its model, as in `read_config(directory, files)["model"]`.

    Returns:
        `(offsets, weights)`: the offset of each weight in the data file, and its `(shape, dtype name)`.

    Raises:
        ValueError: the variables are not those that the configuration needs.
    """
    weights = list(layout.weights(**parts))
    index = read_listed(directory, layout.INDEX, files, MAX_INDEX)
    if layout.DATA not in files:
        raise ValueError(f"it has no {layout.DATA}")
    return tensor_bundle.locate(index, files[layout.DATA].bytes, weights), weights

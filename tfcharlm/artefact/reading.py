"""An exported directory becomes data: the parts of a model and the arrays of its weights. Nothing is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfcharlm.artefact import config_schema, directories, layout, tensor_bundle
from tfcharlm.artefact.manifest import File, check_manifest, read_listed
from tfcharlm.artefact.safe_files import OpenFiles, open_files
from tfcharlm.artefact.strict_json import parse_json, write_json
from tfcharlm.artefact.table_file import MAX_TABLE
from tfcharlm.artefact.tensor_bundle import Variable
from tfcharlm.checks import about

# The records that `tfcharlm train` writes have a few kilobytes.
MAX_RECORD = 2**20


def read(
    directory: Path | str, custom_objects: Mapping[str, type] | None = None
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Reads an export, after checking that it is one.

    Args:
        directory: `saved_models/<name>/<version>`.
        custom_objects: cells of the user by the names of their classes; none by default.

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
    with open_files(directory) as files:
        sums, differences = check_manifest(files)
        if differences:
            raise ValueError(differences[0])
        parts = read_config(files, sums, custom_objects)["model"]
        # The weights must be there before memory is allocated for what the configuration asks for.
        variables = check_index(files, sums, parts)
        data = read_listed(files, directories.DATA, sums, sums[directories.DATA].bytes)
    tensor_bundle.check_sums(data, variables)
    return parts, tensor_bundle.read_weights(data, variables, layout.weights(**parts))


def read_record(directory: Path | str, name: str) -> dict[str, Any]:
    """Reads a record that was exported with a model, such as the settings of its training.

    A record is data of whoever wrote the directory, so check what you take from it.

    Args:
        directory: `saved_models/<name>/<version>`.
        name: the name of a JSON file in `assets.extra`, such as `tfcharlm.artefact.TRAINING`.

    Returns:
        The JSON object in the file as a dictionary; an empty one if the export has no such file.

    Raises:
        ValueError: the directory is not an export of this package, or has been changed; or the file has more than 1 MiB
            or is not one object in strict JSON. The message is one line.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> from tfcharlm.artefact import TRAINING, export_saved_model, read_record
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(5)])
    >>> directory = export_saved_model(model, tempfile.mkdtemp() + "/abc/1", {TRAINING: b'{"seed": 7}'})
    >>> read_record(directory, TRAINING), read_record(directory, "other.json")
    ({'seed': 7}, {})
    """
    file = f"{directories.EXTRA}/{name}"
    try:
        with open_files(directory) as files:
            sums, differences = check_manifest(files)
            if differences:
                raise ValueError(differences[0])
            content = read_listed(files, file, sums, MAX_RECORD) if file in sums else b"{}"
    except (OSError, ValueError) as error:
        raise ValueError(about(directory, f"cannot be read: {error}")) from error
    try:
        record = parse_json(content)
    except ValueError as error:
        raise ValueError(about(directory, f"cannot be read: {file} is not strict JSON: {error}")) from error
    if not isinstance(record, dict):
        raise ValueError(about(directory, f"cannot be read: {file} must be a JSON object; received {record!r:.40}"))
    return record


def read_config(
    files: OpenFiles, sums: Mapping[str, File], custom_objects: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """Reads and checks the configuration of an export.

    Args:
        files: the files of the export, as `open_files` gives them.
        sums: their sums, as `check_manifest` returned them.
        custom_objects: cells of the user by the names of their classes; none by default.

    Returns:
        The configuration, as `config_schema.parse` returns it.

    Raises:
        ValueError: it is missing, is not strict JSON, or is not the configuration of an export.
    """
    content = read_listed(files, directories.CONFIG, sums, config_schema.MAX_BYTES)
    value = parse_json(content)
    if write_json(value) != content:
        raise ValueError(f"{directories.CONFIG} is not as an export writes it")
    config = config_schema.parse(value, custom_objects)
    if config["model"]["vocabulary"].fingerprint != config["vocabulary_fingerprint"]:
        raise ValueError("its vocabulary does not have the fingerprint that was exported with it")
    return config


def check_index(files: OpenFiles, sums: Mapping[str, File], parts: dict[str, Any]) -> dict[str, Variable]:
    """Compares the index of an export's variables with its configuration. No weight is read.

    Args:
        files: the files of the export, as `open_files` gives them.
        sums: their sums, as `check_manifest` returned them.
        parts: the arguments of its model, as in `read_config(files, sums)["model"]`.

    Returns:
        Where each variable is in the data file, in the order of the file.

    Raises:
        ValueError: the variables are not those that the configuration needs.
    """
    index = read_listed(files, directories.INDEX, sums, MAX_TABLE)
    if directories.DATA not in files:
        raise ValueError(f"it has no {directories.DATA}")
    return tensor_bundle.locate(index, sums[directories.DATA].bytes, list(layout.weights(**parts)))

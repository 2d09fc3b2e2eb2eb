"""What a SavedModel is, told from its files: nothing in them is loaded or run."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact import directories, layout, tensor_bundle
from tfcharlm.artefact.directories import GRAPH
from tfcharlm.artefact.graph_comparison import graph_difference
from tfcharlm.artefact.graph_operations import DisallowedOperation, disallowed_operations
from tfcharlm.artefact.manifest import File, check_manifest
from tfcharlm.artefact.object_graph import checkpoint_objects
from tfcharlm.artefact.reading import check_index, read_config
from tfcharlm.artefact.safe_files import OpenFiles, open_files
from tfcharlm.artefact.signatures import Signature, read_signatures, signature_differences
from tfcharlm.artefact.wire_format import is_canonical, parse_message
from tfcharlm.checks import about, one_line
from tfcharlm.text import Vocabulary

MAX_GRAPH, MAX_FINGERPRINT = 2**28, 2**10
# Exports have some 70,000 fields with one cell, 36,000 for each more, and 8 for each token.
FIELDS, FIELDS_OF_CELL, FIELDS_OF_TOKEN = 100_000, 45_000, 12
# Of a SavedModel that is not an export, which is described all the same.
FOREIGN_FIELDS = 500_000


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect_model` found.

    Args:
        directory: the directory of the SavedModel, with its version.
        vocabulary: the `Vocabulary`; None if the configuration cannot be read.
        version: the version of tfcharlm that wrote the export; None if the configuration cannot be read.
        signatures: sorted by name; each has a `name`, and `(name, dtype, shape)` of each of its `inputs` and `outputs`.
        operations: number of nodes in all graphs and functions.
        functions: number of functions.
        differences: one line of at most 300 characters for everything that is not as in an export of this
            configuration: checksums, files, the configuration, the variables, signatures, the graph. A directory that
            `load_model` refuses has at least one.
        disallowed: the operations that no export of tfcharlm needs, each with `operation`, `name` and `where`.
    """

    directory: Path
    vocabulary: Vocabulary | None
    version: str | None
    signatures: tuple[Signature, ...]
    operations: int
    functions: int
    differences: tuple[str, ...]
    disallowed: tuple[DisallowedOperation, ...]

    @property
    def is_plain_export(self) -> bool:
        """Whether this is an export of tfcharlm, with the graph that its configuration gives."""
        return not self.differences and not self.disallowed


def inspect_directory(
    directory: Path | str,
    graph_of: Callable[[dict[str, Any], str], SavedModel],
    custom_objects: Mapping[str, type] | None = None,
) -> Inspection:
    """Describes a SavedModel without loading it, and compares it with an export of its configuration.

    Args:
        directory: as for `tfcharlm.inspect_model`.
        graph_of: makes the graph of an export from the parts of its model and the version of tfcharlm that wrote it. It
            is called if everything else agrees.
        custom_objects: cells of the user by the names of their classes; none by default.

    Returns:
        An `Inspection`.

    Raises:
        ValueError: there is no SavedModel, or its `saved_model.pb` cannot be read.
    """
    directory = directories.latest_version(directory)
    try:
        with open_files(directory) as files:
            return _inspect(directory, files, graph_of, custom_objects)
    except (OSError, MemoryError, ValueError, tf.errors.OpError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(about(directory, f"cannot be read as a SavedModel: {reason}")) from error


def _inspect(directory, files, graph_of, custom_objects):
    config, objects, differences = _read_export(files, custom_objects)
    if GRAPH not in files:
        raise ValueError(f"{GRAPH} is not a file")
    content = files[GRAPH].read(MAX_GRAPH)
    graph = parse_message(SavedModel, content, _max_fields(config))
    if config is not None and not is_canonical(graph, content):
        differences.append(f"{GRAPH} is not as TensorFlow writes it")
    if not graph.meta_graphs:
        raise ValueError(f"{GRAPH} has no graph")
    signatures = read_signatures(graph)
    disallowed = disallowed_operations(graph)
    if config is not None:
        differences += signature_differences(graph, signatures, layout.signatures(**config["model"]))
    if config is not None and len(content) < layout.smallest_graph(config["model"]):
        differences.append(f"{GRAPH} is smaller than the graph of any model with so many cells")
    if not differences and not disallowed:
        differences += _content_differences(graph, objects, graph_of(config["model"], config["tfcharlm"]))
    library = [function for meta in graph.meta_graphs for function in meta.graph_def.library.function]
    return Inspection(
        directory=directory,
        vocabulary=None if config is None else config["model"]["vocabulary"],
        version=None if config is None else config["tfcharlm"],
        signatures=signatures,
        operations=sum(len(meta.graph_def.node) for meta in graph.meta_graphs)
        + sum(len(function.node_def) for function in library),
        functions=len(library),
        differences=tuple(map(one_line, differences)),
        disallowed=tuple(disallowed),
    )


def _read_export(
    files: OpenFiles, custom_objects: Mapping[str, type] | None
) -> tuple[dict[str, Any] | None, bytes, list[str]]:
    """`(configuration or None, the objects in the checkpoint, differences)`."""
    config, objects = None, b""
    differences: list[str] = []
    try:
        sums, differences = check_manifest(files)
        differences += _differences_of_files(files, sums)
        config = read_config(files, sums, custom_objects)
        variables = check_index(files, sums, config["model"])
        objects = tensor_bundle.check_sums(files[directories.DATA].chunks(), variables)
    except (OSError, ValueError) as error:
        differences.append(str(error))
    return config, objects, differences


def _differences_of_files(files: OpenFiles, sums: Mapping[str, File]) -> Iterator[str]:
    """Files that TensorFlow could read, and that no export has."""
    for name in sorted(sums):
        if not layout.is_of_export(name):
            yield f"{name!r:.200} is not a file of an export"
    if directories.FINGERPRINT in files:
        content = files[directories.FINGERPRINT].read(MAX_FINGERPRINT)
        if not is_canonical(parse_message(FingerprintDef, content, MAX_FINGERPRINT), content):
            yield f"{directories.FINGERPRINT} is not as TensorFlow writes it"


def _content_differences(graph: SavedModel, objects: bytes, expected: SavedModel) -> Iterator[str]:
    place = graph_difference(graph, expected)
    if place:
        yield f"its graph is not the one that tfcharlm writes for its configuration: {place} differs"
    elif objects != checkpoint_objects(graph.meta_graphs[0].object_graph_def).SerializeToString(deterministic=True):
        yield "the variables in its checkpoint are not assigned as in an export"


def _max_fields(config: dict[str, Any] | None) -> int:
    if config is None:
        return FOREIGN_FIELDS
    cells = sum(len(getattr(cell, "cells", [cell])) for cell in config["model"]["cells"])
    return FIELDS + FIELDS_OF_CELL * cells + FIELDS_OF_TOKEN * len(config["model"]["vocabulary"])

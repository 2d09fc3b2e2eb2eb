"""What a SavedModel is, told from its files: nothing is loaded or run."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact import layout
from tfcharlm.artefact.graph_operations import DisallowedOperation, disallowed_operations
from tfcharlm.artefact.layout import GRAPH
from tfcharlm.artefact.manifest import check_manifest
from tfcharlm.artefact.reading import check_weights, read_config
from tfcharlm.artefact.safe_files import read_file
from tfcharlm.text import Vocabulary

MAX_GRAPH = 2**29


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel.

    Args:
        name: such as "generate".
        inputs: `(name, dtype, shape)` of each input, sorted by name. An open dimension is None, and a shape of unknown
            rank is "unknown".
        outputs: the same for each output.
    """

    name: str
    inputs: tuple[tuple[str, str, tuple[int | None, ...] | str], ...]
    outputs: tuple[tuple[str, str, tuple[int | None, ...] | str], ...]


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
        differences: one line for everything that is not as it was exported: checksums, files, the configuration, the
            index of the variables, the signatures. A directory that `load_model` refuses has at least one.
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
        """Whether this is an unchanged export of tfcharlm without a disallowed operation."""
        return not self.differences and not self.disallowed


def inspect_model(directory: Path | str) -> Inspection:
    """Describes a SavedModel without loading it, and finds what an export of tfcharlm would not have.

    Use it before TensorFlow loads a directory from a stranger, whose graph may hold operations that read or write
    files. All nodes of all graphs and functions, also those that no signature reaches, are compared with a list of the
    operations that exports of tfcharlm need. With these alone a graph can do no more than compute, though it may take
    memory and time without end.

    Args:
        directory: a SavedModel such as `saved_models/<name>/<version>`, or `saved_models/<name>` for its latest
            version.

    Returns:
        An `Inspection`. Its `is_plain_export` is True for an unchanged export of tfcharlm; otherwise `differences` and
        `disallowed` say why not.

    Raises:
        ValueError: there is no SavedModel, or its `saved_model.pb` cannot be read or is larger than 512 MiB.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(5)])
    >>> inspection = tfcharlm.inspect_model(model.export(tempfile.mkdtemp() + "/abc/1"))
    >>> inspection.is_plain_export, inspection.vocabulary.level, len(inspection.vocabulary)
    (True, 'char', 4)
    >>> inspection.signatures[0].outputs
    (('text', 'string', (None,)),)
    """
    directory = layout.latest_version(directory)
    graph = _read_graph(directory)
    config, differences = _read_export(directory)
    signatures = tuple(sorted(_signatures(graph), key=lambda signature: signature.name))
    if config is not None:
        differences += _graph_differences(graph, signatures, layout.signatures(**config["model"]))
    library = [function for meta in graph.meta_graphs for function in meta.graph_def.library.function]
    return Inspection(
        directory=directory,
        vocabulary=None if config is None else config["model"]["vocabulary"],
        version=None if config is None else config["tfcharlm"],
        signatures=signatures,
        operations=sum(len(meta.graph_def.node) for meta in graph.meta_graphs)
        + sum(len(function.node_def) for function in library),
        functions=len(library),
        differences=tuple(differences),
        disallowed=tuple(disallowed_operations(graph)),
    )


def _read_graph(directory: Path) -> SavedModel:
    path = directory / GRAPH
    try:
        graph = SavedModel.FromString(read_file(path, MAX_GRAPH))
    except (DecodeError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a SavedModel: {' '.join(str(error).split())}") from error
    if not graph.meta_graphs:
        raise ValueError(f"{path} is not a SavedModel: it has no graph.")
    return graph


def _read_export(directory: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """`(configuration or None, differences)`."""
    config = None
    differences: list[str] = []
    try:
        files, differences = check_manifest(directory)
        # TensorFlow looks for these files as well, and they are not inspected.
        differences += [f"{name!r} is a graph beside {GRAPH}" for name in sorted(files) if _is_other_graph(name)]
        config = read_config(directory, files)
        check_weights(directory, files, config["model"])
    except (OSError, ValueError) as error:
        differences.append(" ".join(str(error).split()))
    return config, differences


def _is_other_graph(name):
    return name.startswith("saved_model.") and name != GRAPH


def _graph_differences(
    graph: SavedModel, signatures: Iterable[Signature], needed: dict[str, tuple[dict[str, str], dict[str, str]]]
) -> Iterator[str]:
    if [list(meta.meta_info_def.tags) for meta in graph.meta_graphs] != [["serve"]]:
        yield f"{GRAPH} must have one graph with the tag 'serve'"
        return
    found = {signature.name: signature for signature in signatures}
    yield from (f"it has no signature {name!r}" for name in sorted(needed.keys() - found.keys()))
    yield from (f"its signature {name!r} is not one of an export" for name in sorted(found.keys() - needed.keys()))
    for name in sorted(needed.keys() & found.keys()):
        expected = tuple(sorted(dtypes.items()) for dtypes in needed[name])
        received = tuple([tensor[:2] for tensor in tensors] for tensors in (found[name].inputs, found[name].outputs))
        if received != expected:
            (inputs, outputs), (received_inputs, received_outputs) = (
                [", ".join(map(" ".join, side)) for side in sides] for sides in (expected, received)
            )
            yield (
                f"its signature {name!r} must take {inputs} and give {outputs}; "
                f"it takes {received_inputs or 'nothing'} and gives {received_outputs or 'nothing'}"
            )


def _signatures(graph: SavedModel) -> Iterator[Signature]:
    for meta in graph.meta_graphs:
        for name, signature in meta.signature_def.items():
            if name != "__saved_model_init_op":
                yield Signature(name, _tensors(signature.inputs), _tensors(signature.outputs))


def _tensors(named):
    return tuple((name, _dtype(info.dtype), _shape(info.tensor_shape)) for name, info in sorted(named.items()))


def _dtype(number):
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"type {number}"


def _shape(shape):
    if shape.unknown_rank:
        return "unknown"
    return tuple(None if dimension.size < 0 else dimension.size for dimension in shape.dim)

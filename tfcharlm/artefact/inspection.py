"""What a SavedModel is, told from its files alone: nothing of it is loaded or run."""

import dataclasses
from pathlib import Path

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
    """A signature: its name, and `(name, dtype, shape)` of each input and output; an open dimension is None, an
    unknown rank is "unknown"."""

    name: str
    inputs: tuple
    outputs: tuple


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect_model` found.

    Args:
        directory: the SavedModel, with its version.
        vocabulary: a `Vocabulary`; None if there is none that can be read.
        version: the version of tfcharlm that wrote it, or None.
        signatures: tuple of `Signature`, sorted by name.
        operations: number of nodes in all graphs and functions.
        functions: number of functions.
        differences: tuple of sentences about what is not as exported: sums, files, the configuration, the index of the
            variables, the signatures. What `load_model` refuses has some.
        disallowed: tuple of `DisallowedOperation`, what no export of tfcharlm needs.
    """

    directory: Path
    vocabulary: Vocabulary | None
    version: str | None
    signatures: tuple
    operations: int
    functions: int
    differences: tuple
    disallowed: tuple[DisallowedOperation, ...]

    @property
    def is_plain_export(self):
        """Whether it is a whole export of tfcharlm with nothing disallowed in it."""
        return not self.differences and not self.disallowed


def inspect_model(directory):
    """Says what a SavedModel is without loading it, whoever wrote it.

    All nodes of all graphs and all functions are looked at, also those that no signature reaches: see
    `tfcharlm.artefact.graph_operations`. An operation that is on the list can do what exports do, at most: compute, and take memory
    and time without end.

    Args:
        directory: a SavedModel, or a directory of versions of one, as for `load_model`.

    Returns:
        An `Inspection`. What is no model of tfcharlm has `differences` that say so.

    Raises:
        ValueError: there is no SavedModel, or its `saved_model.pb` cannot be read (at most 512 MiB are).

    Example:

    >>> directory = CharLM(Vocabulary("abc\\n"), [RNNCell(5)]).export(tempfile.mkdtemp() + "/abc/1")
    >>> inspection = inspect_model(directory)
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
        vocabulary=config and config["model"]["vocabulary"],
        version=config and config["tfcharlm"],
        signatures=signatures,
        operations=sum(len(meta.graph_def.node) for meta in graph.meta_graphs)
        + sum(len(function.node_def) for function in library),
        functions=len(library),
        differences=tuple(differences),
        disallowed=tuple(disallowed_operations(graph)),
    )


def _read_graph(directory):
    path = directory / GRAPH
    try:
        graph = SavedModel.FromString(read_file(path, MAX_GRAPH))
    except (DecodeError, OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a SavedModel: {' '.join(str(error).split())}") from error
    if not graph.meta_graphs:
        raise ValueError(f"{path} is no SavedModel: it has no graph.")
    return graph


def _read_export(directory):
    """`(configuration or None, differences)`."""
    config, differences = None, []
    try:
        files, differences = check_manifest(directory)
        # TensorFlow looks for these as well, and nothing here has looked into them.
        differences += [f"{name!r} is a graph beside {GRAPH}" for name in sorted(files) if _is_other_graph(name)]
        config = read_config(directory, files)
        check_weights(directory, files, config["model"])
    except (OSError, ValueError) as error:
        differences.append(" ".join(str(error).split()))
    return config, differences


def _is_other_graph(name):
    return name.startswith("saved_model.") and name != GRAPH


def _graph_differences(graph, signatures, needed):
    if [list(meta.meta_info_def.tags) for meta in graph.meta_graphs] != [["serve"]]:
        yield f"{GRAPH} must have one graph with the tag 'serve'"
        return
    found = {signature.name: signature for signature in signatures}
    yield from (f"it has no signature {name!r}" for name in sorted(needed.keys() - found.keys()))
    yield from (f"its signature {name!r} is none of an export" for name in sorted(found.keys() - needed.keys()))
    for name in sorted(needed.keys() & found.keys()):
        wanted = tuple(sorted(dtypes.items()) for dtypes in needed[name])
        there = tuple([tensor[:2] for tensor in tensors] for tensors in (found[name].inputs, found[name].outputs))
        if there != wanted:
            wanted, there = ([", ".join(map(" ".join, side)) for side in sides] for sides in (wanted, there))
            yield (
                f"its signature {name!r} must take {wanted[0]} and give {wanted[1]}; "
                f"it takes {there[0] or 'nothing'} and gives {there[1] or 'nothing'}"
            )


def _signatures(graph):
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

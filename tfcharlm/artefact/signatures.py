"""The signatures of a SavedModel, and whether they are those of an export."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact.directories import GRAPH


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


def read_signatures(graph: SavedModel) -> tuple[Signature, ...]:
    """The signatures of a SavedModel, sorted by name."""
    found = [
        Signature(name, _tensors(signature.inputs), _tensors(signature.outputs))
        for meta in graph.meta_graphs
        for name, signature in meta.signature_def.items()
        if name != "__saved_model_init_op"
    ]
    return tuple(sorted(found, key=lambda signature: signature.name))


def signature_differences(
    graph: SavedModel, signatures: Iterable[Signature], needed: Mapping[str, tuple[dict[str, str], dict[str, str]]]
) -> Iterator[str]:
    """One line for everything in which signatures are not those of an export.

    Args:
        graph: the message in `saved_model.pb`.
        signatures: what `read_signatures` found in it.
        needed: `{name: ({input: dtype}, {output: dtype})}`, as `layout.signatures` returns it.
    """
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

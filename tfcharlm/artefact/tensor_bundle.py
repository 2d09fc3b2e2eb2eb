"""The variables of a SavedModel, read in Python: a hostile file makes TensorFlow's own reader end the process.

`variables.index` is a table. It maps the name of a variable to a `BundleEntryProto`: its dtype, its shape, its checksum
and the position of its bytes in `variables.data-00000-of-00001`.

Reference: TensorFlow, core/util/tensor_bundle/tensor_bundle.h.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

from tfcharlm.artefact import checksums
from tfcharlm.artefact.table_file import DAMAGED, read_table, varint

# One shard, little-endian, written by version 1 of the format.
HEADER = bytes.fromhex("08011a020801")
WEIGHT = "model_weights/{}/.ATTRIBUTES/VARIABLE_VALUE"
# The seed of a cell's dropout, two integers; and what TensorFlow's `restore` matches the variables by, a string.
SEED = re.compile(r"other_variables/(0|[1-9]\d{0,5})/\.ATTRIBUTES/VARIABLE_VALUE")
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
MAX_OBJECT_GRAPH, MAX_PIECE = 2**20, 2**20


class Variable(NamedTuple):
    """Where a variable is in the data file, and the masked CRC-32C of its bytes."""

    offset: int
    size: int
    checksum: int


def locate(index: bytes, data_size: int, expected: Sequence[tuple[tuple[int, ...], str]]) -> dict[str, Variable]:
    """Finds the variables in the data file, if they are those of an export, in the order in which it writes them.

    Args:
        index: the bytes of `variables.index`.
        data_size: the size in bytes of the only data file.
        expected: a list of `(shape, dtype name)`, in the order of the weights.

    Returns:
        `{name: Variable}` in the order of the file: the weights, seeds, and the object graph.

    Raises:
        ValueError: the table is not as TensorFlow writes it, or a name, dtype, shape, size or position is not the
            expected one.
    """
    entries = _read_entries(index)
    order = {WEIGHT.format(i): (tuple(shape), dtype) for i, (shape, dtype) in enumerate(expected)}
    order |= dict.fromkeys(sorted(filter(SEED.fullmatch, entries), key=_number), ((2,), "int64"))
    order[OBJECT_GRAPH] = ((), "string")
    for name in entries.keys() - order.keys():
        raise ValueError(f"its variables have {name!r:.100}, which no model has")
    end = 0
    for name, (shape, dtype) in order.items():
        _check_entry(name, entries.get(name), shape, dtype, end)
        end += entries[name].size
    if end != data_size:
        raise ValueError(f"its variables need {end:,} bytes; their file has {data_size:,}")
    return {name: Variable(entries[name].offset, entries[name].size, entries[name].crc32c) for name in order}


def check_sums(data: bytes | Iterable[bytes], variables: Mapping[str, Variable]) -> bytes:
    """Compares the bytes of all variables with their checksums, as TensorFlow does when it reads them.

    Args:
        data: the content of the data file, whole or in pieces.
        variables: as `locate` returned them.

    Returns:
        The object graph, a serialized `TrackableObjectGraph`.

    Raises:
        ValueError: a checksum does not agree.
    """
    pieces = _pieces([data] if isinstance(data, bytes) else data, [variable.size for variable in variables.values()])
    object_graph = b""
    for (name, variable), chunks in zip(variables.items(), pieces, strict=True):
        if name == OBJECT_GRAPH:
            object_graph = _read_string(b"".join(chunks), variable.checksum)
        elif checksums.chunks_crc32c(chunks) != variable.checksum:
            raise ValueError(f"the checksum of {name!r} does not agree with its bytes")
    return object_graph


def read_weights(
    data: bytes, variables: Mapping[str, Variable], expected: Iterable[tuple[tuple[int, ...], str]]
) -> list[np.ndarray]:
    """Arrays over the bytes of the data file, without a copy, at the positions that `locate` returned."""
    return [
        np.frombuffer(
            data, tf.dtypes.as_dtype(dtype).as_numpy_dtype, math.prod(shape), variables[WEIGHT.format(i)].offset
        ).reshape(shape)
        for i, (shape, dtype) in enumerate(expected)
    ]


def _read_entries(index: bytes) -> dict[str, BundleEntryProto]:
    pairs = read_table(index)
    if pairs.pop(b"", None) != HEADER:
        raise ValueError("its variables are not in one little-endian file")
    try:
        entries = {name.decode("ascii"): BundleEntryProto.FromString(value) for name, value in pairs.items()}
    except (DecodeError, UnicodeDecodeError) as error:
        raise ValueError(DAMAGED) from error
    for name, entry in entries.items():
        # In another form, or with unknown fields.
        entry.DiscardUnknownFields()
        if entry.SerializeToString() != pairs[name.encode()]:
            raise ValueError(f"{DAMAGED}: TensorFlow writes {name!r:.100} in another form")
    return entries


def _check_entry(name, entry, shape, dtype, offset):
    if entry is None:
        raise ValueError(f"its variables have no {name!r}")
    found = tuple(dimension.size for dimension in entry.shape.dim)
    if any(dimension.name for dimension in entry.shape.dim):
        raise ValueError(f"{DAMAGED}: TensorFlow writes no names of dimensions, as {name!r:.100} has them")
    if entry.dtype != tf.dtypes.as_dtype(dtype).as_datatype_enum or found != shape or entry.shape.unknown_rank:
        raise ValueError(f"{name!r} must be {dtype} {shape}; it has type {entry.dtype} and shape {found!s:.100}")
    if dtype == "string":
        fits = 0 <= entry.size <= MAX_OBJECT_GRAPH
    else:
        fits = entry.size == math.prod(shape) * tf.dtypes.as_dtype(dtype).size
    if not fits:
        raise ValueError(f"{name!r} has {entry.size:,} bytes, which its dtype and shape do not need")
    if entry.shard_id or entry.slices or entry.offset != offset:
        raise ValueError("its variables are not one after the other in one file, in the order of an export")


def _number(name):
    return int(SEED.fullmatch(name)[1])


def _pieces(chunks: Iterable[bytes], sizes: Sequence[int]) -> Iterator[Iterator[bytes]]:
    """An iterator over pieces for each size, one after the other. Each must be used up before the next one."""
    views, rest = (memoryview(chunk) for chunk in chunks), memoryview(b"")

    def take(size):
        nonlocal rest
        while size:
            rest = rest or next(views, memoryview(b""))
            if not rest:
                raise ValueError("the data of its variables became shorter while it was read")
            chunk = bytes(rest[: min(size, MAX_PIECE)])
            rest = rest[len(chunk) :]
            size -= len(chunk)
            yield chunk

    for size in sizes:
        yield take(size)


def _read_string(content: bytes, checksum: int) -> bytes:
    """A tensor with one string: its length, the checksum of the length, and its bytes.

    Both checksums are made of the length as an integer of fixed size, the second one of all that follows it as well.
    """
    length, start = 0, 0
    for start, byte in enumerate(content[:5], 1):
        length |= (byte & 0x7F) << 7 * (start - 1)
        if byte < 0x80:
            break
    fixed = length.to_bytes(8, "little")[:4]
    stored, text = content[start : start + 4], content[start + 4 :]
    if (
        content[:start] != varint(length)
        or len(text) != length
        or int.from_bytes(stored, "little") != checksums.masked_crc32c(fixed)
        or checksums.masked_crc32c(fixed + stored + text) != checksum
    ):
        raise ValueError(f"the checksum of {OBJECT_GRAPH!r} does not agree with its bytes")
    return text

"""The variables of a SavedModel, read in Python: a hostile file makes TensorFlow's own reader end the process.

`variables.index` is a table in the format of LevelDB, without compression. It maps the name of a variable to a
`BundleEntryProto`: its dtype, its shape, and the position of its bytes in `variables.data-00000-of-00001`.

Reference: TensorFlow, core/util/tensor_bundle/tensor_bundle.h; LevelDB, doc/table_format.md.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

MAX_ENTRIES, MAX_KEY, MAX_OTHER = 10_000, 200, 2**20
MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER, TRAILER = 48, 5
WEIGHT = "model_weights/{}/.ATTRIBUTES/VARIABLE_VALUE"
# What `export` saves besides the weights: the seeds of dropout, 16 bytes for each cell, and the names of all variables,
# 100 bytes each. They are not used, but they are in the same file.
OTHER = re.compile(r"other_variables/\d{1,6}/\.ATTRIBUTES/VARIABLE_VALUE|_CHECKPOINTABLE_OBJECT_GRAPH")


def locate(index: bytes, data_size: int, expected: Sequence[tuple[tuple[int, ...], str]]) -> list[int]:
    """Finds the weights in the data file, if the index lists them, and besides them at most 1 MiB that an export has.

    Args:
        index: the bytes of `variables.index`.
        data_size: the size in bytes of the only data file.
        expected: a list of `(shape, dtype name)`, in the order of the weights.

    Returns:
        The offset of each weight in the data file.

    Raises:
        ValueError: the table is damaged, or a name, dtype, shape, size or position is not the expected one.
    """
    entries = _read_entries(index)
    _check_tiling(entries, data_size)
    names = [WEIGHT.format(i) for i in range(len(expected))]
    others = entries.keys() - set(names)
    for name in others:
        if not OTHER.fullmatch(name):
            raise ValueError(f"its variables have {name!r}, which no model has")
    for name, (shape, dtype) in zip(names, expected, strict=True):
        entry = entries.get(name)
        if entry is None:
            raise ValueError(f"its variables have no {name!r}")
        found = tuple(dimension.size for dimension in entry.shape.dim)
        if entry.dtype != tf.dtypes.as_dtype(dtype).as_datatype_enum or found != tuple(shape):
            raise ValueError(f"{name!r} must be {dtype} {tuple(shape)}; it has type {entry.dtype} and shape {found}")
        if entry.size != _bytes(shape, dtype) or entry.shape.unknown_rank:
            raise ValueError(f"{name!r} must have {_bytes(shape, dtype)} bytes; it has {entry.size}")
    besides = sum(entries[name].size for name in others)
    if besides > MAX_OTHER:
        raise ValueError(f"its variables have {besides:,} bytes besides its weights; at most {MAX_OTHER:,} are read")
    return [entries[name].offset for name in names]


def read_weights(
    data: bytes, offsets: Iterable[int], expected: Iterable[tuple[tuple[int, ...], str]]
) -> list[np.ndarray]:
    """Arrays over the bytes of the data file, without a copy, at the offsets that `locate` returned."""
    return [
        np.frombuffer(data, tf.dtypes.as_dtype(dtype).as_numpy_dtype, math.prod(shape), offset).reshape(shape)
        for offset, (shape, dtype) in zip(offsets, expected, strict=True)
    ]


def _bytes(shape, dtype):
    return math.prod(shape) * tf.dtypes.as_dtype(dtype).size


def _check_tiling(entries: Mapping[str, BundleEntryProto], data_size: int) -> None:
    """The entries must cover the data file without a gap or an overlap, as TensorFlow writes them."""
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.offset, entry.size)):
        if entry.shard_id or entry.slices or entry.offset != end or entry.size < 0:
            raise ValueError("its variables are not one after the other in one file")
        end += entry.size
    if end != data_size:
        raise ValueError(f"its variables need {end:,} bytes; their file has {data_size:,}")


def _read_entries(index: bytes) -> dict[str, BundleEntryProto]:
    try:
        entries = dict(_pairs(index))
        header = BundleHeaderProto.FromString(entries.pop(b"", b""))
        if header.num_shards != 1 or header.endianness != BundleHeaderProto.LITTLE:
            raise ValueError("its variables are not in one little-endian file")
        return {name.decode("ascii"): BundleEntryProto.FromString(value) for name, value in entries.items()}
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise ValueError("the table of its variables is damaged") from error


def _pairs(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pairs (name, value) of a table, each name once."""
    if len(index) < FOOTER or not index.endswith(MAGIC):
        raise ValueError("the table of its variables is damaged")
    footer = index[-FOOTER:]
    names: set[bytes] = set()
    _, position = _handle(footer, 0)
    for _, handle in _block(index, *_handle(footer, position)[0]):
        for name, value in _block(index, *_handle(handle, 0)[0]):
            if name in names or len(names) >= MAX_ENTRIES:
                raise ValueError(f"its variables have {name!r:.60} twice, or there are more than {MAX_ENTRIES:,}")
            names.add(name)
            yield name, value


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The pairs (key, value) of a block. A key is stored without the prefix that it shares with the previous key."""
    end = offset + size
    if size < 4 or end + TRAILER > len(table) or table[end] != 0:
        raise ValueError("the table of its variables is damaged or compressed")
    restarts = int.from_bytes(table[end - 4 : end], "little")
    end -= 4 + 4 * restarts
    key, position = b"", offset
    while position < end:
        shared, position = _varint(table, position)
        unshared, position = _varint(table, position)
        length, position = _varint(table, position)
        if shared > len(key) or shared + unshared > MAX_KEY or position + unshared + length > end:
            raise ValueError("the table of its variables is damaged")
        key = key[:shared] + table[position : position + unshared]
        position += unshared + length
        yield key, table[position - length : position]


def _handle(content, position):
    offset, position = _varint(content, position)
    size, position = _varint(content, position)
    return (offset, size), position


def _varint(content, position):
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("the table of its variables is damaged")

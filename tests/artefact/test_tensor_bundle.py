"""The index of the variables: what a stranger can write into it is refused before memory is taken for the weights."""

import os
import pickle

import pytest
from helpers.auditing import Bomb, assert_hostile_is_refused
from helpers.exported_directories import (
    DATA,
    INDEX,
    OTHER,
    WEIGHT,
    entries,
    entry,
    indexed,
    longer_object_graph,
    make_model,
    renamed,
    sliced,
    sparse,
    swapped,
    table,
    with_other,
    written,
)
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

from tfcharlm.artefact import tensor_bundle

pytestmark = pytest.mark.usefixtures("warm")

CASES = {
    "index and data exchanged": (swapped(INDEX, DATA), "damaged"),
    "a pickle for the data": (written(DATA, pickle.dumps(Bomb())), "their file has"),
    "a short index": (lambda d: (d / INDEX).write_bytes((d / INDEX).read_bytes()[5:]), "damaged"),
    "an index of nothing": (written(INDEX, tensor_bundle.MAGIC.rjust(48, b"\0")), "damaged"),
    "an index of varints without end": (written(INDEX, b"\xff" * 100 + tensor_bundle.MAGIC), "damaged"),
    "a large index": (sparse(INDEX, 2**20 + 1), "variables.index has 1,048,577 bytes; at most"),
    "a compressed block": (lambda d: (d / INDEX).write_bytes(table([(b"", b"")], compression=1)), "compressed"),
    "a long name": (indexed(add=[(b"x" * 201, b"")]), "damaged"),
    "a name twice": (indexed(add=[(WEIGHT(0).encode(), b"")]), "twice"),
    "10,001 names": (indexed(add=[(b"%d" % i, b"") for i in range(10_001)]), "more than 10,000"),
    "entries that are no message": (indexed(add=[(b"x", b"\xff\xff")]), "damaged"),
    "a thousand shards": (indexed(header=BundleHeaderProto(num_shards=1000)), "not in one little-endian file"),
    "big-endian": (indexed(header=BundleHeaderProto(num_shards=1, endianness=1)), "not in one little-endian file"),
    "data too short": (lambda d: os.truncate(d / DATA, 100), "their file has 100"),
    "data too long": (sparse(DATA, 2**20), "their file has 1,048,576"),
    "a weight outside the file": (entry(0, offset=2**40), "one after the other"),
    "a negative offset": (entry(0, offset=-4), "one after the other"),
    "a negative size": (entry(0, size=-4), "one after the other"),
    "a weight over another": (entry(1, offset=0), "one after the other"),
    "a weight in another file": (entry(0, shard_id=3), "one after the other"),
    "a weight in slices": (indexed(sliced), "one after the other"),
    "a weight of strings": (entry(0, dtype=7), "must be float32"),
    "a variant": (entry(0, dtype=21), "must be float32"),
    "a type that is none": (entry(0, dtype=9999), "must be float32"),
    "integers": (entry(0, dtype=3), "must be float32"),
    "a huge shape": (entry(0, shape=(2**62, 2**62)), "must be float32"),
    "a negative shape": (entry(0, shape=(-1, 3)), "must be float32"),
    "a transposed weight": (entry(1, shape=(20, 3)), "must be float32 (3, 20)"),
    "a weight missing": (renamed(WEIGHT(3).encode(), b"other_variables/3/.ATTRIBUTES/VARIABLE_VALUE"), "have no"),
    "a large variable that is no weight": (
        with_other((OTHER(99), 2**21)), "bytes besides its weights; at most 1,048,576"),
    "many variables that are no weights": (
        with_other(*((OTHER(i), 2**17) for i in range(9))), "bytes besides its weights; at most 1,048,576"),
    "a large object graph": (longer_object_graph, "bytes besides its weights; at most 1,048,576"),
    "a weight of another name": (renamed(WEIGHT(3).encode(), b"../../etc/passwd"), "which no model has"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_variables_are_refused(directory, case):
    assert_hostile_is_refused(directory, *CASES[case])


def test_a_large_file_is_refused_before_it_is_read(exported):
    """3 GiB that are no weight, which as holes in a file cost nothing: the index alone tells."""
    weights = [(weight.shape, weight.dtype) for weight in make_model().weights]
    size = (exported / DATA).stat().st_size
    found = entries(exported)
    pairs = [(b"", BundleHeaderProto(num_shards=1).SerializeToString())]
    pairs += [(name, entry.SerializeToString()) for name, entry in sorted(found.items())]
    large = BundleEntryProto(dtype=9, offset=size, size=3 * 2**30).SerializeToString()
    with pytest.raises(ValueError, match="bytes besides its weights"):
        tensor_bundle.locate(table([*pairs, (OTHER(99).encode(), large)]), size + 3 * 2**30, weights)
    small = BundleEntryProto(dtype=9, offset=size, size=16).SerializeToString()
    tensor_bundle.locate(table([*pairs, (OTHER(99).encode(), small)]), size + 16, weights)

"""The index of the variables: what a stranger can write into it is refused before memory is taken for the weights."""

import os
import pickle
import tracemalloc

import pytest
import tensorflow as tf
from helpers.auditing import Bomb, assert_hostile_is_refused, assert_refused
from helpers.exported_directories import (
    DATA,
    HEADER,
    INDEX,
    OTHER,
    WEIGHT,
    entries,
    entry,
    indexed,
    longer_object_graph,
    make_model,
    renamed,
    seal,
    sliced,
    sparse,
    string_sum,
    swapped,
    table,
    with_other,
    written,
)
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

from tfcharlm.artefact import table_file, tensor_bundle

pytestmark = pytest.mark.usefixtures("warm")


def named_dimensions(found):
    found[WEIGHT(1).encode()].shape.dim[0].name = "x" * 100


def other_length(form):
    """The length of the object graph in other bytes, with checksums that agree."""

    def spoil(directory):
        content = (directory / DATA).read_bytes()

        def lengthen(found):
            objects = found[b"_CHECKPOINTABLE_OBJECT_GRAPH"]
            begin, whole = objects.offset, content[objects.offset : objects.offset + objects.size]
            start = next(i for i, byte in enumerate(whole, 1) if byte < 0x80)
            other = form(whole[:start])
            (directory / DATA).write_bytes(content[:begin] + other + whole[start:])
            objects.size += len(other) - start
            objects.crc32c = string_sum(whole)

        indexed(lengthen)(directory)

    return spoil


CASES = {
    "index and data exchanged": (swapped(INDEX, DATA), "damaged"),
    "a pickle for the data": (written(DATA, pickle.dumps(Bomb())), "their file has"),
    "a short index": (lambda d: (d / INDEX).write_bytes((d / INDEX).read_bytes()[5:]), "damaged"),
    "an index of nothing": (written(INDEX, table_file.MAGIC.rjust(48, b"\0")), "damaged"),
    "an index of varints without end": (written(INDEX, b"\xff" * 100 + table_file.MAGIC), "damaged"),
    "a large index": (sparse(INDEX, 2**18 + 1), "variables.index has 262,145 bytes; at most"),
    "a compressed block": (lambda d: (d / INDEX).write_bytes(table([(b"", b"")], compression=1)), "in another form"),
    "a long name": (indexed(add=[(b"x" * 201, b"")]), "damaged"),
    "a name twice": (indexed(add=[(WEIGHT(0).encode(), b"")]), "in another form"),
    "1,001 names": (indexed(add=[(b"x%04d" % i, b"") for i in range(1_001)]), "more than 1,000 names"),
    "entries that are no message": (indexed(add=[(b"x", b"\xff\xff")]), "damaged"),
    "a thousand shards": (indexed(header=BundleHeaderProto(num_shards=1000)), "not in one little-endian file"),
    "big-endian": (indexed(header=BundleHeaderProto(num_shards=1, endianness=1)), "not in one little-endian file"),
    "data too short": (lambda d: os.truncate(d / DATA, 100), "their file has 100"),
    "data too long": (sparse(DATA, 2**20), "their file has 1,048,576"),
    "a weight outside the file": (entry(0, offset=2**40), "one after the other"),
    "a negative offset": (entry(0, offset=-4), "one after the other"),
    "a negative size": (entry(0, size=-4), "has -4 bytes"),
    "a weight over another": (entry(1, offset=0), "one after the other"),
    "a weight in another file": (entry(0, shard_id=3), "one after the other"),
    "a weight in slices": (indexed(sliced), "one after the other"),
    "a weight of strings": (entry(0, dtype=7), "must be float32"),
    "a variant": (entry(0, dtype=21), "must be float32"),
    "a type that is none": (entry(0, dtype=9999), "must be float32"),
    "integers": (entry(0, dtype=3), "must be float32"),
    "a huge shape": (entry(0, shape=(2**62, 2**62)), "must be float32"),
    "a negative shape": (entry(0, shape=(-1, 3)), "must be float32"),
    "a shape with names": (indexed(named_dimensions), "TensorFlow writes no names of dimensions"),
    "a length that goes on": (
        other_length(lambda length: length[:-1] + bytes([length[-1] | 0x80]) + b"\x80\x80"),
        "_OBJECT_GRAPH' does not agree",
    ),
    "a length with a zero": (
        other_length(lambda length: length[:-1] + bytes([length[-1] | 0x80, 0])),
        "_OBJECT_GRAPH' does not agree",
    ),
    "a transposed weight": (entry(1, shape=(20, 3)), "must be float32 (3, 20)"),
    "a weight missing": (renamed(WEIGHT(3).encode(), b"other_variables/3/.ATTRIBUTES/VARIABLE_VALUE"), "have no"),
    "a large variable that is no weight": (with_other((OTHER(99), 2**21)), "must be int64 (2,)"),
    "many variables that are no weights": (with_other(*((OTHER(i), 2**17) for i in range(9))), "must be int64 (2,)"),
    "a large object graph": (longer_object_graph, "bytes, which its dtype and shape do not need"),
    "a weight of another name": (renamed(WEIGHT(3).encode(), b"../../etc/passwd"), "which no model has"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_variables_are_refused(directory, case):
    assert_hostile_is_refused(directory, *CASES[case])


def test_a_large_file_is_refused_before_it_is_read(exported):
    """3 GiB that are no weight, which as holes in a file cost nothing: the index alone tells."""
    weights = [(weight.shape, weight.dtype) for weight in make_model().weights]
    size, found = (exported / DATA).stat().st_size, entries(exported)
    objects = found[b"_CHECKPOINTABLE_OBJECT_GRAPH"]

    def locate(seed_size):
        seed = BundleEntryProto(dtype=9, offset=size - objects.size, size=seed_size)
        seed.shape.dim.add(size=2)
        moved = BundleEntryProto.FromString(objects.SerializeToString())
        moved.offset += seed_size
        changed = found | {OTHER(99).encode(): seed, b"_CHECKPOINTABLE_OBJECT_GRAPH": moved}
        pairs = [(name, entry.SerializeToString()) for name, entry in sorted(changed.items())]
        return tensor_bundle.locate(table([(b"", HEADER.SerializeToString()), *pairs]), size + seed_size, weights)

    with pytest.raises(ValueError, match="has 3,221,225,472 bytes, which its dtype and shape do not need"):
        locate(3 * 2**30)
    assert list(locate(16))[-2:] == [OTHER(99), "_CHECKPOINTABLE_OBJECT_GRAPH"]


def test_overlapping_blocks_are_refused_before_they_are_kept(directory):
    """3,000 blocks that all end at the same place: 200 kB of table that would give hundreds of megabytes of values."""
    heads = [bytes([0, 4]) + b"\x80\x80\x01" + i.to_bytes(4, "big") for i in range(3000)]
    (directory / INDEX).write_bytes(b"".join(heads).ljust(200_000, b"\0") + table([(b"x", b"")]))
    seal(directory)
    tracemalloc.start()
    assert_refused(directory, "the table of its variables is damaged")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def longer(pairs, addition):
    """With bytes after the entry of the first weight."""
    return [(name, value + addition * (name == WEIGHT(0).encode())) for name, value in pairs]


FORMS = {
    "names in another order": lambda pairs: table([pairs[0], *reversed(pairs[1:])]),
    "an unknown field": lambda pairs: table(longer(pairs, b"\x98\x06\x01")),
    "an offset of 0, which is left out otherwise": lambda pairs: table(longer(pairs, b"\x20\x00")),
    "more whole names": lambda pairs: table(pairs, interval=4),
    "a byte between block and footer": lambda pairs: (t := table(pairs))[:-48] + b"\0" + t[-48:],
    "a byte in the padding of the footer": lambda pairs: flipped(table(pairs), -9),
    "another sum of the block": lambda pairs: flipped(t := table(pairs), t.index(b"\1\0\0\0\0") + 6),
    "bytes before the first block": lambda pairs: b"\0" + table(pairs),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_table_in_another_form_is_refused(directory, case):
    """TensorFlow may read these otherwise than we do, or not at all. It never writes them."""
    pairs = [(b"", HEADER.SerializeToString())]
    pairs += [(name, entry.SerializeToString()) for name, entry in sorted(entries(directory).items())]
    assert table(pairs) == (directory / INDEX).read_bytes()
    spoiled = FORMS[case](pairs)
    assert spoiled != table(pairs)
    (directory / INDEX).write_bytes(spoiled)
    seal(directory)
    assert_refused(directory, "the table of its variables is damaged")


def test_bytes_that_do_not_agree_with_their_checksum_are_refused(directory, rng):
    """TensorFlow compares these sums when it reads a variable; so both refuse the same files."""
    content = (directory / DATA).read_bytes()
    for name, found in entries(directory).items():
        (directory / DATA).write_bytes(flipped(content, found.offset + int(rng.integers(found.size))))
        seal(directory)
        assert_refused(directory, f"the checksum of '{name.decode()}' does not agree")
        with pytest.raises((RuntimeError, tf.errors.OpError), match=r"(?i)checksum|corrupt"):
            tf.train.load_checkpoint(directory / "variables" / "variables").get_tensor(name.decode())

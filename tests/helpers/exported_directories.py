"""Exported directories, and ways to spoil them as a stranger could."""

import hashlib
import json
import os
import shutil
import socket
import struct
from pathlib import Path

import google_crc32c
import numpy as np
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

import tfcharlm
from tfcharlm.artefact import table_file
from tfcharlm.text import Vocabulary

TEXT = "To be, or not to be: that is the question.\n\tÉ ☃ 1 2\n"
CONFIG, MANIFEST = "assets.extra/config.json", "assets.extra/manifest.json"
INDEX, DATA, GRAPH = "variables/variables.index", "variables/variables.data-00000-of-00001", "saved_model.pb"
WEIGHT = "model_weights/{}/.ATTRIBUTES/VARIABLE_VALUE".format
HEADER = BundleHeaderProto(num_shards=1, version={"producer": 1})
OTHER = "other_variables/{}/.ATTRIBUTES/VARIABLE_VALUE".format
# The path of the first cell in a configuration, and of its arguments.
CELL = ("model", "cells", 0)
FIELD = (*CELL, "config")


def make_model(cells=None, level="char", rng=None, **arguments):
    cells = cells or [tfcharlm.LSTMCell(5), tfcharlm.RNNCell(7, kernel_regularizer="l2", bias_constraint="non_neg")]
    model = tfcharlm.CharLM(Vocabulary.from_text(TEXT, level), cells, **{"embedding_dim": 3} | arguments)
    rng = rng or np.random.default_rng(11)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def seal(directory):
    """Writes a manifest that agrees with the directory, as a stranger can. It shares no code with the package."""
    sums = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != MANIFEST:
            content = path.read_bytes()
            sums[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (directory / MANIFEST).write_text(json.dumps(sums, indent=1, sort_keys=True))


def serialized(module, name, registered=None, config=None):
    """What Keras writes of an object."""
    return {"module": module, "class_name": name, "registered_name": registered, "config": config or {}}


def form(value):
    """JSON in the form in which an export writes its configuration."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


# Every function below returns a function that spoils a directory, or is one.


def changed(*keys, to):
    """Spoils a value of the configuration; `to` may be a function of the old value."""

    def spoil(directory):
        config = json.loads((directory / CONFIG).read_bytes())
        parent = config
        for key in keys[:-1]:
            parent = parent[key]
        present = isinstance(parent, list) or keys[-1] in parent
        parent[keys[-1]] = to(parent[keys[-1]] if present else None) if callable(to) else to
        (directory / CONFIG).write_text(form(config))

    return spoil


def written(name, content):
    return lambda directory: (directory / name).write_bytes(content)


def replaced(old, new):
    """Spoils the text of the configuration."""

    def spoil(directory):
        text = (directory / CONFIG).read_text()
        assert text.count(old), old
        (directory / CONFIG).write_text(text.replace(old, new, 1))

    return spoil


def masked_sum(content):
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def string_sum(content):
    """The checksum of a tensor of one string of 128 to 16,383 bytes: of its length in four bytes, and what follows."""
    length = (content[0] & 0x7F) | content[1] << 7
    assert len(content) == 2 + 4 + length
    return masked_sum(struct.pack("<I", length) + content[2:])


def table(pairs, compression=0, interval=16):
    """A LevelDB table of one block, as TensorFlow writes it if the pairs are sorted. Not the package's code."""

    def varint(number):
        return (bytes([number & 0x7F | 0x80]) + varint(number >> 7)) if number > 0x7F else bytes([number])

    def block(pairs, interval, compression=0):
        body, restarts, last = b"", [0], b""
        for i, (key, value) in enumerate(pairs):
            alike = [a == b for a, b in zip(last, key, strict=False)] + [False]
            shared = alike.index(False) if i % interval else 0
            restarts += [len(body)] if i and not i % interval else []
            body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
            last = key
        body += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts)) + bytes([compression])
        return body + struct.pack("<I", masked_sum(body))

    first, between = block(pairs, interval, compression), block([], 16)
    after_all = bytes([pairs[-1][0][0] + 1]) if pairs and pairs[-1][0] else b""
    second = block([(after_all, varint(0) + varint(len(first) - 5))], 1)
    footer = b"".join(map(varint, (len(first), len(between) - 5, len(first) + len(between), len(second) - 5)))
    return first + between + second + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def entries(directory):
    """The entries of `variables.index` by name."""
    pairs = table_file.read_table((directory / INDEX).read_bytes())
    return {name: BundleEntryProto.FromString(value) for name, value in pairs.items() if name}


def indexed(spoil_entries=lambda found: None, header=None, add=()):
    """Spoils the entries of `variables.index`, given by name."""

    def spoil(directory):
        found = entries(directory)
        spoil_entries(found)
        head = header or HEADER
        pairs = [(b"", head.SerializeToString()), *((k, v.SerializeToString()) for k, v in sorted(found.items()))]
        (directory / INDEX).write_bytes(table([*pairs, *add]))

    return spoil


def entry(number, **values):
    """Spoils fields of the entry of one weight."""

    def spoil(found):
        target = found[WEIGHT(number).encode()]
        for field, value in values.items():
            if field != "shape":
                setattr(target, field, value)
                continue
            del target.shape.dim[:]
            for size in value:
                target.shape.dim.add(size=size)

    return indexed(spoil)


def with_other(*others):
    """Adds variables that are not weights, `(name, bytes)`. The data file gets longer by a hole."""

    def spoil(directory):
        size = (directory / DATA).stat().st_size

        def add(found):
            end = size
            for name, length in others:
                found[name.encode()] = BundleEntryProto(dtype=9, offset=end, size=length)
                end += length

        indexed(add)(directory)
        sparse(DATA, size + sum(length for _, length in others))(directory)

    return spoil


def longer_object_graph(directory):
    def lengthen(found):
        graph = found[b"_CHECKPOINTABLE_OBJECT_GRAPH"]
        for entry in found.values():
            entry.offset += 2**21 * (entry.offset > graph.offset)
        graph.size += 2**21

    indexed(lengthen)(directory)
    sparse(DATA, (directory / DATA).stat().st_size + 2**21)(directory)


def renamed(old, new):
    def spoil(found):
        found[new] = found.pop(old)

    return indexed(spoil)


def sliced(found):
    found[WEIGHT(0).encode()].slices.add().extent.add(start=0)


def swapped(one, other):
    def spoil(directory):
        first, second = (directory / one).read_bytes(), (directory / other).read_bytes()
        (directory / one).write_bytes(second)
        (directory / other).write_bytes(first)

    return spoil


def linked(name, target="outside"):
    """Moves a file or a directory out and puts a symbolic link in its place."""

    def spoil(directory):
        outside = directory.parent / target
        shutil.move(directory / name, outside)
        (directory / name).symlink_to(outside)

    return spoil


def fifo(name):
    def spoil(directory):
        (directory / name).unlink(missing_ok=True)
        os.mkfifo(directory / name)

    return spoil


def unix_socket(directory):
    before = Path.cwd()
    os.chdir(directory)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    os.chdir(before)


def sparse(name, size):
    """Makes a file, or makes it longer, without using the disk."""

    def spoil(directory):
        with (directory / name).open("ab") as file:
            file.truncate(size)

    return spoil


def many_files(directory):
    for i in range(101):
        (directory / f"file{i}").touch()

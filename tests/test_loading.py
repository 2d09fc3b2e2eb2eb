"""Directories that a stranger wrote: what `load_model` refuses, what it touches, and what `inspect_model` finds."""

import hashlib
import json
import marshal
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

import tfcharlm
from tfcharlm import bundle, expected, export, loading, operations, schema
from tfcharlm.artefact.inspection import inspect_model
from tfcharlm.text import Vocabulary
from tfcharlm.artefact.safe_files import parse_json

TEXT = "To be, or not to be: that is the question.\n\tÉ ☃ 1 2\n"
CONFIG, MANIFEST = "assets.extra/config.json", "assets.extra/manifest.json"
INDEX, DATA, GRAPH = "variables/variables.index", "variables/variables.data-00000-of-00001", "saved_model.pb"
WEIGHT = "model_weights/{}/.ATTRIBUTES/VARIABLE_VALUE".format
OTHER = "other_variables/{}/.ATTRIBUTES/VARIABLE_VALUE".format


def make_model(cells=None, level="char", rng=None, **arguments):
    cells = cells or [tfcharlm.LSTMCell(5), tfcharlm.RNNCell(7, kernel_regularizer="l2", bias_constraint="non_neg")]
    model = tfcharlm.CharLM(Vocabulary.from_text(TEXT, level), cells, **{"embedding_dim": 3} | arguments)
    rng = rng or np.random.default_rng(11)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("exported") / "model" / "1")


@pytest.fixture
def directory(exported, tmp_path):
    """A copy of an export, to be spoilt."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


def seal(directory):
    """Writes the manifest that agrees with the directory, as a stranger can; independent of `tfcharlm.artefact.manifest`."""
    sums = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != MANIFEST:
            content = path.read_bytes()
            sums[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (directory / MANIFEST).write_text(json.dumps(sums, indent=1, sort_keys=True))


def changed(*keys, to):
    """Spoils a value of the configuration; `to` may be a function of what was there."""

    def spoil(directory):
        config = json.loads((directory / CONFIG).read_bytes())
        place = config
        for key in keys[:-1]:
            place = place[key]
        present = isinstance(place, list) or keys[-1] in place
        place[keys[-1]] = to(place[keys[-1]] if present else None) if callable(to) else to
        (directory / CONFIG).write_text(json.dumps(config))

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


def table(pairs, compression=0):
    """A LevelDB table of one block; the sums of its blocks are not right, which nobody here looks at."""

    def varint(number):
        return (bytes([number & 0x7F | 0x80]) + varint(number >> 7)) if number > 0x7F else bytes([number])

    def block(pairs):
        body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in pairs)
        return body + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")

    first = block(pairs)
    second = block([(b"\xff", varint(0) + varint(len(first)))])
    blocks = first + bytes([compression]) + b"\0" * 4 + second + b"\0" * 5
    handle = varint(len(first) + 5) + varint(len(second))
    return blocks + (handle + handle).ljust(40, b"\0") + bundle.MAGIC


def entries(directory):
    pairs = dict(bundle._pairs((directory / INDEX).read_bytes()))
    return {name: BundleEntryProto.FromString(value) for name, value in pairs.items() if name}


def indexed(spoil_entries=lambda found: None, header=None, add=()):
    """Spoils the entries of `variables.index`, which are given by name."""

    def spoil(directory):
        found = entries(directory)
        spoil_entries(found)
        head = header or BundleHeaderProto(num_shards=1)
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
    """Adds variables that are no weights, `(name, bytes)`, and lengthens the data file, at no cost, to hold them."""

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
    def spoil(directory):
        with (directory / name).open("ab") as file:
            file.truncate(size)

    return spoil


def many_files(directory):
    for i in range(1001):
        (directory / f"file{i}").touch()


def serialized(module, name, registered=None, config=None):
    return {"module": module, "class_name": name, "registered_name": registered, "config": config or {}}


TOUCHED = []


@keras.saving.register_keras_serializable(package="stranger", name="Cell")
class RegisteredCell(keras.layers.LSTMCell):
    def __init__(self, *arguments, **named):
        TOUCHED.append("cell")
        super().__init__(*arguments, **named)


@keras.saving.register_keras_serializable(package="stranger", name="function")
def registered_function(x):
    TOUCHED.append("function")
    return x


class Bomb:
    def __reduce__(self):
        return TOUCHED.append, ("pickle",)


def stack(*cells):
    return serialized("keras.layers", "StackedRNNCells", None, {"cells": list(cells)})


LAMBDA = {"class_name": "__lambda__", "config": {"value": [marshal.dumps(compile("1", "", "eval")).hex(), None, None]}}
CELL = ("model", "cells", 0)
FIELD = (*CELL, "config")
POLICY = serialized("keras", "DTypePolicy", config={"name": "float32"})

# Spoilt, with a manifest that does not know it.
CHANGED = {
    "no configuration": (lambda d: (d / CONFIG).unlink(), "config.json' is missing"),
    "no graph": (lambda d: (d / GRAPH).unlink(), "no tfcharlm model"),
    "no index": (lambda d: (d / INDEX).unlink(), "variables.index' is missing"),
    "no data": (lambda d: (d / DATA).unlink(), "data-00000-of-00001' is missing"),
    "no manifest": (lambda d: (d / MANIFEST).unlink(), "has no assets.extra/manifest.json"),
    "a pickle beside it": (written("weights.pkl", pickle.dumps(Bomb())), "'weights.pkl' was added"),
    "a folder with a file": (lambda d: shutil.copytree(d, d / "7"), "' was added"),
    "a name of two lines": (written("a\nb\x1b[31m", b""), "'a\\nb\\x1b[31m' was added"),
    "a longer graph": (sparse(GRAPH, 2**20), "saved_model.pb' has 1048576 bytes instead of"),
    "another configuration": (changed(*FIELD, "units", to=6), "config.json' has"),
    "another activation": (replaced('"activation": "tanh"', '"activation": "gelu"'), "has been changed"),
    "index and data exchanged": (swapped(INDEX, DATA), "bytes instead of"),
    "more than 16 GiB": (sparse("large", 2**34 + 1), "more than 17,179,869,184 bytes"),
    "1,001 files": (many_files, "more than 1,000 files"),
    "a large manifest": (sparse(MANIFEST, 2**20 + 1), "manifest.json has 1,048,577 bytes; at most"),
    "a deep manifest": (written(MANIFEST, b'{"a":' * 100_000), "manifest.json is damaged: it is nested too deeply"),
    "a manifest of lists": (written(MANIFEST, b"[[1, 2]]"), "manifest.json is damaged"),
    "a manifest that is a number": (written(MANIFEST, b"1"), "manifest.json is damaged"),
    "a manifest with a key twice": (written(MANIFEST, b'{"a": 1, "a": 1}'), "'a' stands twice"),
    "a manifest with a path upwards": (
        written(MANIFEST, b'{"../outside": {"bytes": 1, "sha256": ""}}'), r"'../outside' is missing"),
    "a manifest with an absolute path": (
        written(MANIFEST, b'{"/etc/passwd": {"bytes": 1, "sha256": ""}}'), r"'/etc/passwd' is missing"),
    "a manifest in other words": (
        lambda d: (d / MANIFEST).write_text((d / MANIFEST).read_text() + "\n"), "not as an export writes it"),
}  # fmt: skip

# Spoilt, with a manifest that agrees.
SEALED = {
    "configuration is a link": (linked(CONFIG), "config.json' is a symbolic link"),
    "data is a link": (linked(DATA), "is a symbolic link"),
    "manifest is a link": (linked(MANIFEST), "manifest.json' is a symbolic link"),
    "a folder is a link": (linked("assets.extra"), "'assets.extra' is a symbolic link"),
    "the folder of variables is a link": (linked("variables"), "'variables' is a symbolic link"),
    "a link to nothing": (lambda d: (d / "link").symlink_to("nowhere"), "'link' is a symbolic link"),
    "a link to itself": (lambda d: (d / "assets" / "link").symlink_to(".."), "'assets/link' is a symbolic link"),
    "a link to a device": (lambda d: (d / "link").symlink_to("/dev/zero"), "'link' is a symbolic link"),
    "configuration is a FIFO": (fifo(CONFIG), "config.json' is no regular file"),
    "a FIFO beside it": (fifo("fifo"), "'fifo' is no regular file"),
    "a socket beside it": (unix_socket, "'socket' is no regular file"),
    "configuration is a folder": (
        lambda d: ((d / CONFIG).unlink(), (d / CONFIG).mkdir()), "has no assets.extra/config.json"),
    "a large configuration": (sparse(CONFIG, 2**24 + 1), "config.json has 16,777,217 bytes; at most"),
    "a deep configuration": (written(CONFIG, b"[" * 10**6), "nested too deeply"),
    "a deep object": (written(CONFIG, b'{"model":' * 10**5), "nested too deeply"),
    "empty configuration": (written(CONFIG, b""), "Expecting value"),
    "a pickle for a configuration": (written(CONFIG, pickle.dumps(Bomb())), "cannot be loaded"),
    "UTF-16": (lambda d: (d / CONFIG).write_text((d / CONFIG).read_text(), "utf-16"), "codec can't decode"),
    "a key twice": (replaced('"units": 5', '"units": 5, "units": 5'), "'units' stands twice"),
    "NaN": (replaced('"units": 5', '"units": NaN'), "NaN is no number"),
    "Infinity": (replaced('"units": 5', '"units": -Infinity'), "Infinity is no number"),
    "1e999": (replaced('"units": 5', '"units": 1e999'), "units must be a whole number"),
    "an infinite gain": (
        changed(*FIELD, "recurrent_initializer", "config", "gain", to=1e300), "gain must be a number from"),
    "a number of 5,000 digits": (replaced('"units": 5', '"units": ' + "5" * 5000), "cannot be loaded"),
    "a list": (written(CONFIG, b"[]"), "config must be an object"),
    "another format": (changed("format", to=2), "config.format must be"),
    "an unknown key": (changed("code", to="import os"), "config has the unknown key 'code'"),
    "an unknown key of a cell": (changed(*FIELD, "call", to="x"), "config has the unknown key 'call'"),
    "a missing key": (lambda d: changed("model", to=lambda m: m.pop("cells") and m)(d), "has no key 'cells'"),
    "no cells": (changed("model", "cells", to=[]), "cells must be a list of 1 to 100"),
    "101 cells": (changed("model", "cells", to=lambda c: c[:1] * 101), "a list of 1 to 100"),
    "10^12 units": (changed(*FIELD, "units", to=10**12), "units must be a whole number from 1 to 65536"),
    "all outputs left out": (changed("model", "dropout", to=1.0), "dropout must be at least 0 and below 1"),
    "all vectors left out": (changed("model", "input_dropout", to=1), "input_dropout must be at least 0 and below 1"),
    "all weights left out": (changed("model", "weight_drop", to=1.0), "weight_drop must be at least 0 and below 1"),
    "weights left out where there is no kernel": (
        lambda d: (changed("model", "weight_drop", to=0.5)(d), changed(*FIELD, "activation", to="relu")(d)),
        "weight_drop must be 0, because"),
    "10^12 dimensions": (changed("model", "embedding_dim", to=10**12), "embedding_dim must be a whole number"),
    "units that are not there": (changed(*FIELD, "units", to=65536), "must be float32 (3, 262144)"),
    "negative units": (changed(*FIELD, "units", to=-5), "units must be"),
    "units true": (changed(*FIELD, "units", to=True), "units must be a whole number from"),
    "units 5.0": (changed(*FIELD, "units", to=5.0), "units must be a whole number from"),
    "units a list": (changed(*FIELD, "units", to=[5]), "units must be"),
    "units an object": (changed(*FIELD, "units", to=serialized("builtins", "int")), "units must be"),
    "a lambda for a cell": (changed(*CELL, to=LAMBDA), "cells[0] has no key 'module'"),
    "a layer Lambda": (changed(*CELL, to=serialized("keras.layers", "Lambda", None, {"function": LAMBDA})),
                       "cells[0] must be one of"),
    "a function of Python": (changed(*CELL, to=serialized("os", "function", "system", "system")), "must be one of"),
    "a module of Python": (changed(*CELL, "module", to="subprocess"), "must be one of"),
    "a module of this package": (changed(*CELL, "module", to="tfcharlm.layers.base"), "must be one of"),
    "a registered cell": (
        changed(*CELL, to=serialized(__name__, "RegisteredCell", "stranger>Cell", {"units": 5})), "must be one of"),
    "a registered name on a known class": (changed(*CELL, "registered_name", to="stranger>Cell"), "must be one of"),
    "no registered name": (changed(*CELL, "registered_name", to=None), "must be one of"),
    "a layer for a cell": (changed(*CELL, to=serialized("keras.layers", "Dense", None, {"units": 5})), "one of"),
    "a stack without a name": (
        changed(*CELL, to=lambda c: serialized("keras.layers", "StackedRNNCells", None, {"cells": [c]}) | {"x": 1}),
        "unknown key 'x'"),
    "a stack in a stack": (changed(*CELL, to=lambda c: stack(stack(c))), "cells[0].config.cells[0] must be one of"),
    "a stack of nothing": (changed(*CELL, to=lambda c: stack()), "cells must be a list of 1 to 100"),
    "a stranger's cell in a stack": (
        changed(*CELL, to=lambda c: stack(c, serialized(__name__, "RegisteredCell", "stranger>Cell", {"units": 5}))),
        "cells[1] must be one of"),
    "a stack of other weights": (changed(*CELL, to=lambda c: stack(c, c)), "must be float32 (5, 20)"),
    "a class that is a list": (changed(*CELL, "class_name", to=["LSTMCell"]), "class_name must be"),
    "a lambda for an activation": (changed(*FIELD, "activation", to=LAMBDA), "activation must be one of"),
    "a registered activation": (changed(*FIELD, "activation", to="stranger>function"), "activation must be one of"),
    "a function for an activation": (
        changed(*FIELD, "activation", to=serialized("os", "function", "system", "system")), "activation must be"),
    "a tensor for an initializer": (
        changed(*FIELD, "kernel_initializer", to={"class_name": "__tensor__", "config": {"value": 1}}), "no key"),
    "a tensor in an initializer": (
        changed(*FIELD, "kernel_initializer", to=serialized(
            "keras.initializers", "Constant", None, {"value": {"class_name": "__numpy__", "config": {}}})),
        "value must be a number"),
    "a seed that is an object": (
        changed(*FIELD, "kernel_initializer", "config", "seed", to=serialized("keras.random", "SeedGenerator")),
        "seed must be a whole number"),
    "an initializer that cannot make a vector": (
        changed(*FIELD, "bias_initializer", to=serialized("keras.initializers", "Identity")),
        "cells[0] cannot be built"),
    "an initializer with axes that are not there": (
        changed(*FIELD, "kernel_initializer", "config", to={"input_axes": [4], "output_axes": [0]}),
        "cells[0] cannot be built: tuple index"),
    "a cell that computes in another dtype": (
        changed(*FIELD, "dtype", "config", "name", to="mixed_bfloat16"),
        "a cell that computes in float32, as its model; received 'bfloat16'"),
    "a regularizer from elsewhere": (
        changed(*FIELD, "kernel_regularizer", to=serialized("os", "system")), "must be one of"),
    "a constraint from elsewhere": (
        changed(*FIELD, "bias_constraint", to=serialized("keras.layers", "Lambda")), "must be one of"),
    "a policy of another kind": (
        changed("model", "dtype", to=serialized("keras.dtype_policies", "DTypePolicyMap")), "must be one of"),
    "a policy of complex numbers": (changed("model", "dtype", "config", "name", to="complex64"), "must be one of"),
    "another policy": (
        changed("model", "dtype", "config", "name", to="float64"), "must be a cell that computes in float64"),
    "a name that is a path": (changed("model", "name", to="../../x"), "name must be a name"),
    "a name with an escape": (changed("model", "name", to="\x1b[31m\n"), "name must be a name"),
    "a vocabulary with a token twice": (
        changed("model", "vocabulary", "tokens", to=lambda t: [t[0], *t[:-1]]), "a token must stand once"),
    "a vocabulary in another order": (
        changed("model", "vocabulary", "tokens", to=lambda t: t[::-1]), "fingerprint that was exported"),
    "a vocabulary of numbers": (changed("model", "vocabulary", "tokens", to=[1, 2]), "a token must be a str"),
    "a vocabulary of lists": (changed("model", "vocabulary", "tokens", to=[[], []]), "a token must be a str"),
    "another fingerprint": (changed("vocabulary_fingerprint", to="0" * 64), "fingerprint that was exported"),
    "no fingerprint": (changed("vocabulary_fingerprint", to=None), "vocabulary_fingerprint must be"),
    "index and data exchanged": (swapped(INDEX, DATA), "damaged"),
    "a pickle for the data": (written(DATA, pickle.dumps(Bomb())), "their file has"),
    "a short index": (lambda d: (d / INDEX).write_bytes((d / INDEX).read_bytes()[5:]), "damaged"),
    "an index of nothing": (written(INDEX, bundle.MAGIC.rjust(48, b"\0")), "damaged"),
    "an index of varints without end": (written(INDEX, b"\xff" * 100 + bundle.MAGIC), "damaged"),
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


def audited(function):
    """What `function` did by Python's account: a list of (event, arguments)."""
    if not hasattr(sys, "_events_of_test_loading"):
        sys._events_of_test_loading = None

        def hook(event, arguments):
            if sys._events_of_test_loading is not None:
                sys._events_of_test_loading.append((event, arguments))

        sys.addaudithook(hook)
    sys._events_of_test_loading = events = []
    try:
        function()
    finally:
        sys._events_of_test_loading = None
    return events


HARMLESS = ("os.listdir", "os.scandir", "object.", "sys._getframe", "array.", "builtins.id", "gc.")


def misdeeds(events, directory):
    """Events that reading a directory does not need: another file, a file to be written, code, a process, a socket."""
    for event, arguments in events:
        if event == "open":
            path, mode, flags = arguments
            inside = isinstance(path, int) or Path(path).resolve().is_relative_to(directory)
            if inside and not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and set(mode or "r") <= set("rb"):
                continue
        elif event.startswith(HARMLESS):
            continue
        yield event, arguments


@pytest.fixture(scope="module", autouse=True)
def _warm(exported):
    """What Keras imports when it is first needed is none of the directory's doing."""
    tfcharlm.load_model(exported)


def check_refused(directory, message, path=None):
    errors = []

    def load():
        try:
            tfcharlm.load_model(path or directory)
        except ValueError as error:
            errors.append(str(error))

    before = sorted(directory.parent.rglob("*"))
    events = audited(load)
    assert errors, "it was loaded"
    assert message in errors[0]
    assert errors[0].isprintable() and len(errors[0]) < 2000
    assert list(misdeeds(events, directory)) == []
    assert TOUCHED == []
    assert sorted(directory.parent.rglob("*")) == before


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_directory_is_refused(directory, case):
    spoil, message = CHANGED[case]
    spoil(directory)
    check_refused(directory, message)


@pytest.mark.parametrize("case", SEALED)
def test_a_hostile_directory_with_a_manifest_that_agrees_is_refused(directory, case):
    spoil, message = SEALED[case]
    spoil(directory)
    if not (directory / "assets.extra").is_symlink() and not (directory / MANIFEST).is_symlink():
        seal(directory)
    check_refused(directory, message)


def test_a_large_file_is_refused_before_it_is_read(exported):
    """3 GiB that are no weight, which as holes in a file cost nothing: the index alone tells."""
    weights = [(weight.shape, weight.dtype) for weight in make_model().weights]
    size = (exported / DATA).stat().st_size
    found = entries(exported)
    pairs = [(b"", BundleHeaderProto(num_shards=1).SerializeToString())]
    pairs += [(name, entry.SerializeToString()) for name, entry in sorted(found.items())]
    large = BundleEntryProto(dtype=9, offset=size, size=3 * 2**30).SerializeToString()
    with pytest.raises(ValueError, match="bytes besides its weights"):
        bundle.find_weights(table([*pairs, (OTHER(99).encode(), large)]), size + 3 * 2**30, weights)
    small = BundleEntryProto(dtype=9, offset=size, size=16).SerializeToString()
    bundle.find_weights(table([*pairs, (OTHER(99).encode(), small)]), size + 16, weights)


@pytest.mark.parametrize("case", SEALED)
def test_what_load_model_refuses_is_not_clean(directory, case):
    spoil, message = SEALED[case]
    spoil(directory)
    if not (directory / "assets.extra").is_symlink() and not (directory / MANIFEST).is_symlink():
        seal(directory)
    inspection = inspect_model(directory)
    assert not inspection.clean
    assert any(message in difference for difference in inspection.differences) or message == "cannot be loaded"


def test_what_the_spoilers_do_is_what_is_refused(directory):
    """The negative control: a manifest of the tests, and an index that the tests wrote, with the right entries."""
    indexed()(directory)
    seal(directory)
    tfcharlm.load_model(directory)


def test_versions_of_a_stranger(directory, tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir()
    check_refused(parent, "no tfcharlm model")
    (parent / "3").symlink_to(directory)
    check_refused(parent, "is a symbolic link, which is not followed")
    (parent / "4").write_text("")
    check_refused(parent, "is a symbolic link, which is not followed")
    check_refused(tmp_path / "absent", "is no directory")
    check_refused(parent / "4", "is no directory")
    tfcharlm.load_model(parent / "3")  # what the user names may be a link


def test_a_foreign_graph_is_no_model(tmp_path):
    foreign = foreign_model(tmp_path)
    check_refused(foreign, "has no assets.extra/manifest.json")
    (foreign / "assets.extra").mkdir()
    seal(foreign)
    check_refused(foreign, "has no assets.extra/config.json")


def test_the_misdeeds_are_seen(directory, tmp_path):
    """The negative control of the audit."""
    (tmp_path / "outside").write_text("")
    deeds = {
        "open": lambda: (directory / ".." / "outside").read_text(),
        "subprocess.Popen": lambda: subprocess.run(["true"], check=True),
        "socket.__new__": lambda: socket.socket().close(),
        "os.mkdir": lambda: (directory / "new").mkdir(),
        "pickle.find_class": lambda: pickle.loads(pickle.dumps(Bomb)),
        "exec": lambda: exec("1"),
        "import": lambda: (sys.modules.pop("colorsys", None), __import__("colorsys")),
    }
    for name, deed in deeds.items():
        assert name in [event for event, _ in misdeeds(audited(deed), directory)]
    assert list(misdeeds(audited(lambda: (directory / "x").write_text("x")), directory))


def test_a_good_directory_is_only_read(directory):
    assert list(misdeeds(audited(lambda: tfcharlm.load_model(directory)), directory)) == []


def test_tensorflow_is_given_no_file(directory, monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError("a native reader")

    for module, name in [(tf.train, "load_checkpoint"), (tf.saved_model, "load"), (tf.io, "read_file")]:
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(tf.raw_ops, "RestoreV2", refuse)
    monkeypatch.setattr(keras.saving, "deserialize_keras_object", refuse)
    tfcharlm.load_model(directory)


def test_a_file_that_changes_between_the_check_and_the_reading_is_refused(directory, monkeypatch):
    read_config = loading.read_config

    def change_then_read(*arguments):
        changed(*FIELD, "activation", to="relu")(directory)
        return read_config(*arguments)

    monkeypatch.setattr(loading, "read_config", change_then_read)
    with pytest.raises(ValueError, match=r"config\.json changed while it was read"):
        tfcharlm.load_model(directory)


def test_every_one_of_1000_flipped_bits_is_noticed(directory, rng):
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    assert {path.relative_to(directory).as_posix() for path in files} >= {CONFIG, MANIFEST, INDEX, DATA, GRAPH}
    for i in range(1000):
        path = files[i % len(files)]
        place, bit = int(rng.integers(path.stat().st_size)), 1 << int(rng.integers(8))
        with path.open("r+b") as file:
            original = os.pread(file.fileno(), 1, place)
            os.pwrite(file.fileno(), bytes([original[0] ^ bit]), place)
            with pytest.raises(ValueError):
                tfcharlm.load_model(directory)
            os.pwrite(file.fileno(), original, place)
    tfcharlm.load_model(directory)


CELLS = [
    tfcharlm.RNNCell,
    tfcharlm.LSTMCell,
    *(getattr(keras.layers, f"{n}Cell") for n in ("SimpleRNN", "LSTM", "GRU")),
]


def random_arguments(cell, rng):
    """Arguments of a cell, each of them away from its default now and then."""

    def some(*values):
        return values[rng.integers(len(values))]

    initializers = [name for _, name in schema.INITIALIZERS if name not in ("Identity", "Constant")]
    arguments = {"units": int(rng.integers(1, 9)), "use_bias": some(True, False), "trainable": some(True, False),
                 "activation": some("tanh", "relu", "gelu", None), "name": some(None, "a cell")}  # fmt: skip
    for array in ("kernel", "recurrent", "bias"):
        arguments[f"{array}_regularizer"] = some(None, "l1", keras.regularizers.L1L2(0.1, 0.2))
        arguments[f"{array}_constraint"] = some(None, "non_neg", keras.constraints.MaxNorm(3, axis=0))
        usable = (
            ["Zeros", "Ones", "RandomNormal", keras.initializers.Constant(0.25)] if array == "bias" else initializers
        )
        arguments[f"{array}_initializer"] = some(*usable)
    if cell.__module__.startswith("keras."):
        arguments |= {"dropout": some(0, 0.3), "recurrent_dropout": some(0, 0.2), "seed": some(None, 7)}
    if cell is keras.layers.GRUCell:
        arguments["reset_after"] = some(True, False)
    if cell is tfcharlm.LSTMCell:
        arguments["cap_input_gate"] = some(True, False)
    return arguments


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_every_kind_of_cell_comes_back(rng, dtype):
    """Through the configuration alone, which is quick: the parts, their weights' shapes, and the same configuration."""
    for _ in range(5):
        cells = [cell(dtype=dtype, **random_arguments(cell, rng)) for cell in rng.permutation(CELLS)]
        cells[1:3] = [keras.layers.StackedRNNCells(cells[1:3], dtype=dtype)]
        rates = dict(zip(("dropout", "input_dropout"), rng.uniform(size=2).tolist(), strict=True))
        model = make_model(cells, dtype=dtype, rng=rng, **rates, skip_connections=bool(rng.integers(2)))
        written = export._config(model)
        parts = schema.parse(parse_json(written))["model"]
        weights = list(expected.weights(**parts))
        assert weights == [(tuple(weight.shape), weight.dtype) for weight in model.weights]
        assert export._obstacle(model, written) is None
        assert tfcharlm.CharLM(**parts).get_config() == model.get_config()


def shared_cells():
    cell = tfcharlm.RNNCell(3)
    return [cell, cell]


# Cells of models that `load_model` cannot rebuild, by the reason why.
UNKNOWN = {
    r"cells\[0\] must be one of .*keras.layers.GRUCell.*stranger>Cell": lambda: [RegisteredCell(3)],
    r"cells\[1\].config.cells\[0\] must be one of .*stranger>Cell": lambda: [
        tfcharlm.RNNCell(2), keras.layers.StackedRNNCells([RegisteredCell(3)])],
    r"activation must be one of .*glu": lambda: [tfcharlm.RNNCell(4, activation=keras.activations.glu)],
    "activation must be one of .*stranger>function": lambda: [tfcharlm.RNNCell(4, activation=registered_function)],
    "other weights than its configuration": shared_cells,
}  # fmt: skip


def test_an_export_that_cannot_be_loaded_says_so(tmp_path):
    """The SavedModel itself is as good as any."""
    why, cells = next(iter(UNKNOWN.items()))
    model = make_model(cells())
    with pytest.warns(UserWarning, match=rf"load_model cannot rebuild.*{why}.*model\.save\(") as caught:
        directory = model.export(tmp_path / "1")
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    TOUCHED.clear()
    assert not inspect_model(directory).clean
    with pytest.raises(ValueError, match=why):
        tfcharlm.load_model(directory)
    assert TOUCHED == []
    artefact = tf.saved_model.load(str(directory))
    scores = artefact.signatures["score"](texts=tf.constant([TEXT]))
    np.testing.assert_allclose(scores["log_probability"], model.score([TEXT])["log_probability"], rtol=1e-5)


@pytest.mark.parametrize("why", UNKNOWN)
def test_what_cannot_be_rebuilt_is_known_before(why):
    model = make_model(UNKNOWN[why]())
    assert re.search(why, export._obstacle(model, export._config(model)))
    TOUCHED.clear()


def test_what_can_be_rebuilt_is_exported_without_a_warning(tmp_path, recwarn):
    make_model([keras.layers.StackedRNNCells([tfcharlm.RNNCell(2)])]).export(tmp_path / "1")
    assert [str(warning.message) for warning in recwarn if "load_model" in str(warning.message)] == []


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64", "float16"])
def test_the_signature_of_a_step_is_known_from_the_configuration(dtype):
    # Keras's stack rounds the float32 states of an RNNCell to the compute dtype.
    inner = tfcharlm.RNNCell if dtype in ("float32", "float64") else keras.layers.SimpleRNNCell
    stacked = keras.layers.StackedRNNCells([inner(2, dtype=dtype), keras.layers.LSTMCell(7, dtype=dtype)], dtype=dtype)
    cells = [tfcharlm.LSTMCell(5, dtype=dtype), keras.layers.GRUCell(3, dtype=dtype), stacked]
    model = make_model(cells, dtype=dtype)
    inputs, outputs = expected.signatures(**schema.parse(parse_json(export._config(model)))["model"])["step"]
    step = model.text_graph().step.get_concrete_function()
    assert inputs == {name: spec.dtype.name for name, spec in step.structured_input_signature[1].items()} | {
        spec.name: spec.dtype.name for spec in step.structured_input_signature[0]}  # fmt: skip
    assert outputs == {name: spec.dtype.name for name, spec in step.structured_outputs.items()}


BFLOAT16 = {"dtype": "mixed_bfloat16"}


def keras_cells():
    layers = keras.layers
    return [layers.SimpleRNNCell(3, dropout=0.5), layers.LSTMCell(4, dropout=0.1, recurrent_dropout=0.3),
            layers.GRUCell(5, recurrent_dropout=0.1), layers.GRUCell(2, reset_after=False, use_bias=False)]  # fmt: skip


OWN = {
    "char": lambda: make_model(),
    "byte in bfloat16": lambda: make_model(
        [tfcharlm.LSTMCell(5, **BFLOAT16), tfcharlm.RNNCell(7, **BFLOAT16)], "byte", **BFLOAT16
    ),
    "words, Keras's cells": lambda: make_model(keras_cells(), "word"),
    "a stack": lambda: make_model(
        [
            keras.layers.StackedRNNCells([keras.layers.LSTMCell(4, dropout=0.1), tfcharlm.RNNCell(3)]),
            tfcharlm.LSTMCell(2),
        ]
    ),
    "folded embedding": lambda: make_model([tfcharlm.RNNCell(3)], embedding_dim=64),
    "skip connections": lambda: make_model(
        [tfcharlm.LSTMCell(4, cap_input_gate=True), tfcharlm.RNNCell(3)], skip_connections=True, weight_drop=0.25
    ),
}
ALL_OWN = OWN | {
    "char, Keras's cells": lambda: make_model(keras_cells()),
    "words": lambda: make_model([tfcharlm.LSTMCell(3)], "word"),
    "byte": lambda: make_model([tfcharlm.RNNCell(3)], "byte"),
    "activations": lambda: make_model([tfcharlm.RNNCell(2, activation=name) for name in schema.ACTIVATIONS]),
}


@pytest.fixture(scope="module")
def own_export(exported, tmp_path_factory):
    """The exports of `ALL_OWN`, each made when it is first asked for."""
    made = {"char": exported}

    def get(name):
        if name not in made:
            made[name] = ALL_OWN[name]().export(tmp_path_factory.mktemp("own") / "1")
        return made[name]

    return get


def needed_operations(directory):
    """The operations of all nodes, taken from the text of the message: another way than the one that is tested."""
    text = str(SavedModel.FromString((directory / GRAPH).read_bytes()))
    return set(re.findall(r'^ *op: "(.*)"$', text, re.MULTILINE)) - operations.SAVING - operations.RESTORING


@pytest.mark.parametrize("name", OWN)
def test_own_exports_are_clean_and_come_back(own_export, name):
    """Says which operations are missing in `tfcharlm.artefact.graph_operations.ALLOWED`."""
    directory = own_export(name)
    missing = needed_operations(directory) - operations.ALLOWED
    assert sorted(missing) == [], "add these to tfcharlm.artefact.graph_operations.ALLOWED"
    inspection = inspect_model(directory)
    assert inspection.clean, (inspection.differences, inspection.foreign)
    original, again = ALL_OWN[name](), tfcharlm.load_model(directory)
    for weight, same in zip(again.weights, original.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert inspection.vocabulary == again.vocabulary


@pytest.mark.slow
def test_the_list_of_operations_is_what_own_exports_need(own_export):
    needed = set.union(*(needed_operations(own_export(name)) for name in ALL_OWN))
    print("not in the list:", sorted(needed - operations.ALLOWED))
    print("not needed:", sorted(operations.ALLOWED - needed))
    assert needed == operations.ALLOWED


def foreign_model(folder):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    tf.saved_model.save(module, str(folder / "foreign"))
    return folder / "foreign"


def function_named(graph, name):
    return next(f for f in graph.meta_graphs[0].graph_def.library.function if f.signature.name == name)


def called_by(graph, output):
    """The name of the function that a node of the main graph calls."""
    nodes = {node.name: node for node in graph.meta_graphs[0].graph_def.node}
    return nodes[output.partition(":")[0]].attr["f"].func.name


@pytest.fixture(scope="module")
def proto(exported):
    return SavedModel.FromString((exported / GRAPH).read_bytes())


@pytest.fixture
def graph(proto):
    """A copy of the exported graph, to be spoilt."""
    copy = SavedModel()
    copy.CopyFrom(proto)
    return copy


def hidden_places(graph):
    """Lists of nodes where an operation can hide: `{where an error says it is: nodes}`."""
    meta = graph.meta_graphs[0]
    library = meta.graph_def.library
    signature = called_by(graph, meta.signature_def["generate"].outputs["text"].name)
    places = {"the main graph": meta.graph_def.node, f"function {signature}": function_named(graph, signature).node_def}
    branch = library.function.add()
    branch.signature.name = "branch"
    middle = library.function.add()
    middle.signature.name = "middle"
    middle.node_def.add(name="if", op="If").attr["then_branch"].func.name = "branch"
    loop = function_named(graph, signature).node_def.add(name="while", op="While")
    loop.attr["body"].func.name = "middle"
    listed = library.function.add()
    listed.signature.name = "listed"
    called = function_named(graph, signature).node_def.add(name="call", op="StatefulPartitionedCall")
    called.attr["f"].func.name = "middle"
    called.attr["f"].func.attr["g"].list.func.add().name = "listed"
    unreachable = library.function.add()
    unreachable.signature.name = "unreachable"
    for function in (branch, listed, unreachable):
        places[f"function {function.signature.name}"] = function.node_def
    for output in (meta.saver_def.save_tensor_name, meta.saver_def.restore_op_name):
        name = called_by(graph, output)
        places[f"function {name}"] = function_named(graph, name).node_def
    second = graph.meta_graphs.add()
    places["the main graph of another"] = second.graph_def.node
    return places


def test_every_one_of_300_foreign_operations_is_found_in_every_place(graph, rng):
    # Those of the saver have a test of their own.
    known = operations.ALLOWED | operations.SAVING | operations.RESTORING
    names = sorted(name for name in dir(tf.raw_ops) if name[0].isupper() and name not in known)
    chosen = rng.permutation(names)[:300]
    assert {"ReadFile", "WriteFile", "PyFunc"} <= set(names) and len(chosen) == 300
    places = hidden_places(graph)
    assert operations.disallowed_operations(graph) == []
    for number, nodes in enumerate(places.values()):
        for operation in chosen:
            nodes.add(name=f"node{number}", op=operation)
    found = operations.disallowed_operations(graph)
    assert len(found) == len(set(found)) == 300 * len(places) == 2400
    assert set(found) == {
        (operation, f"node{number}", where.removesuffix(" of another"))
        for number, where in enumerate(places)
        for operation in chosen
    }


def test_files_are_for_the_saver_alone(proto):
    """Every way in which something else could have `SaveV2` or `RestoreV2` run is foreign."""
    meta = proto.meta_graphs[0]
    save, restore = meta.saver_def.save_tensor_name, meta.saver_def.restore_op_name
    saving, restoring = called_by(proto, save), called_by(proto, restore)

    def add(graph, **node):
        return graph.meta_graphs[0].graph_def.node.add(name="new", **node)

    ways = {
        "a signature": lambda g: g.meta_graphs[0].signature_def["x"].outputs["y"].__setattr__("name", save),
        "a part of an output": lambda g: (
            g.meta_graphs[0].signature_def["x"].outputs["y"].composite_tensor.components.add(name=save)),
        "the init operation": lambda g: add(g, op="NoOp", input=["^" + save.partition(":")[0]]),
        "a node": lambda g: add(g, op="Identity", input=[save]),
        "a collection": lambda g: g.meta_graphs[0].collection_def["saved_model_main_op"].node_list.value.append(
            save.partition(":")[0]),
        "another call": lambda g: add(g, op="StatefulPartitionedCall").attr["f"].func.__setattr__("name", saving),
        "the object graph": lambda g: g.meta_graphs[0].object_graph_def.concrete_functions[saving].SetInParent(),
        "a function object": lambda g: g.meta_graphs[0].object_graph_def.nodes.add().function.concrete_functions.append(
            saving),
        "a gradient": lambda g: g.meta_graphs[0].graph_def.library.gradient.add(
            function_name="f", gradient_func=saving),
    }  # fmt: skip
    for way, spoil in ways.items():
        graph = SavedModel.FromString(proto.SerializeToString())
        spoil(graph)
        found = {foreign.operation for foreign in operations.disallowed_operations(graph)}
        assert found == {"MergeV2Checkpoints", "SaveV2", "ShardedFilename"}, way
    graph = SavedModel.FromString(proto.SerializeToString())
    next(n for n in function_named(graph, restoring).node_def if n.op == "RestoreV2").input[0] = "elsewhere:output:0"
    assert [foreign.operation for foreign in operations.disallowed_operations(graph)] == ["RestoreV2"]
    elsewhere = {
        "SaveV2": lambda node: node.input.__setitem__(0, "num_shards:output:0"),
        "ShardedFilename": lambda node: node.input.__setitem__(0, "Const:output:0"),
        "MergeV2Checkpoints": lambda node: node.input.__setitem__(1, "Const:output:0"),
        "Pack": lambda node: node.input.__setitem__(0, "Const:output:0"),
        "Const": lambda node: node.attr["value"].tensor.string_val.__setitem__(0, b"/../../etc/passwd"),
        "Const, joined": lambda node: node.attr["value"].tensor.string_val.append(b"/../x"),
        "StringJoin": lambda node: node.input.__setitem__(0, "Const:output:0"),
        "StringJoin, more": lambda node: node.input.append("SaveV2/tensor_names:output:0"),
        "StringJoin, separator": lambda node: node.attr["separator"].__setattr__("s", b"/../x"),
        "Select": lambda node: node.input.__setitem__(1, "SaveV2/tensor_names:output:0"),
    }
    for way, spoil in elsewhere.items():
        graph = SavedModel.FromString(proto.SerializeToString())
        spoil(next(n for n in function_named(graph, saving).node_def if n.op == way.partition(",")[0]))
        assert operations.disallowed_operations(graph), way
    graph = SavedModel.FromString(proto.SerializeToString())
    nodes = function_named(graph, saving).node_def
    nodes.add(name="ShardedFilename", op="Identity", input=["Const:output:0"])
    assert {foreign.operation for foreign in operations.disallowed_operations(graph)} >= {"SaveV2", "MergeV2Checkpoints"}
    for function in (saving, restoring):
        graph = SavedModel.FromString(proto.SerializeToString())
        function_named(graph, function).node_def.add(name="n", op="SaveV2" if function == restoring else "RestoreV2")
        assert len(operations.disallowed_operations(graph)) == 1


def test_a_function_that_is_not_there_is_foreign(graph):
    """The runtime could take the name for that of an operation."""
    call = graph.meta_graphs[0].graph_def.node.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = "WriteFile"
    call.attr["f"].func.attr["g"].list.func.add().name = "RemoteCall"
    graph.meta_graphs[0].graph_def.library.gradient.add(function_name="f", gradient_func="PyFunc")
    graph.meta_graphs[0].graph_def.library.function[0].attr["x"].func.name = "ReadFile"
    assert {f.operation for f in operations.disallowed_operations(graph)} == {
        "WriteFile",
        "RemoteCall",
        "PyFunc",
        "ReadFile",
    }


def test_no_operation_of_the_list_reaches_outside():
    words = ("File", "Py", "Read", "Write", "Save", "Restore", "Merge", "Shard", "Rpc", "Dataset", "Iterator", "Print",
             "Summary", "Debug", "Send", "Recv", "Queue", "Remote", "Gradient", "Custom", "Decode", "Encode",
             "Load", "Url", "Socket", "Abort", "Random")  # fmt: skip
    harmless = {"ReadVariableOp", "DisableCopyOnRead", "UnicodeDecode", "UnicodeEncode", "StatelessRandomGetKeyCounter",
                "StatelessRandomUniformV2"}  # fmt: skip
    assert [name for name in operations.ALLOWED - harmless if any(word in name for word in words)] == []
    assert operations.ALLOWED.isdisjoint(operations.SAVING | operations.RESTORING)


@pytest.fixture
def inspect(monkeypatch, capsys):
    """`tfcharlm inspect PATH`: (exit status, standard output, standard error)."""
    from tfcharlm import cli

    def run(path):
        monkeypatch.setattr(sys, "argv", ["tfcharlm", "inspect", str(path)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return (stop.value.code or 0, *capsys.readouterr())

    return run


def test_inspect_says_what_a_model_is(exported, inspect, model):
    status, output, error = inspect(exported.parent)
    assert (status, error) == (0, "")
    for line in (
        f"{exported}: a model of tfcharlm {tfcharlm.__version__}",
        f"Vocabulary: {len(model.vocabulary)} tokens, level char, fingerprint {model.vocabulary.fingerprint}",
        "  generate(max_length int32 (), prompts string (None,), seed int64 (None,), temperature float32 (), "
        "top_k int32 (), top_p float32 ()) -> text string (None,)",
        "Files: every file has the sum that it was exported with",
    ):
        assert line in output.splitlines()
    assert "none that a tfcharlm model does not need" in output


def test_inspect_names_what_is_wrong_and_foreign(directory, inspect, graph):
    graph.meta_graphs[0].graph_def.library.function[3].node_def.add(name="x\x1b[31m", op="WriteFile")
    (directory / GRAPH).write_bytes(graph.SerializeToString())
    where = graph.meta_graphs[0].graph_def.library.function[3].signature.name
    status, output, _ = inspect(directory)
    assert status == 1 and "'saved_model.pb' has" in output
    assert f"  WriteFile, x\\x1b[31m in function {where}\n" in output
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "every file has the sum" in output and "WriteFile, " in output


def test_inspect_sees_another_graph_beside(directory, inspect):
    (directory / "saved_model.cpb").write_bytes(b"")
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "'saved_model.cpb' is a graph beside saved_model.pb" in output


def test_inspect_works_with_any_saved_model(tmp_path, inspect):
    status, output, _ = inspect(foreign_model(tmp_path))
    assert status == 1
    assert "a SavedModel, but no tfcharlm model that can be read" in output
    assert "  serving_default(x float32 (None, 3)) -> output_0 float32 (None, 3)\n" in output


def signature(name):
    return lambda graph: graph.meta_graphs[0].signature_def[name]


SIGNATURES = {
    "no step": (lambda g: g.meta_graphs[0].signature_def.pop("step"), "it has no signature 'step'"),
    "no default": (
        lambda g: g.meta_graphs[0].signature_def.pop("serving_default"), "it has no signature 'serving_default'"),
    "one more": (
        lambda g: signature("more")(g).CopyFrom(signature("score")(g)), "its signature 'more' is none of an export"),
    "no text": (lambda g: signature("generate")(g).outputs.pop("text"), "signature 'generate' must"),
    "an input more": (
        lambda g: signature("score")(g).inputs["x"].CopyFrom(signature("score")(g).inputs["texts"]),
        "signature 'score' must take texts string and give bits_per_character float64, log_probability float64, "
        "tokens int32; it takes texts string, x string and gives"),
    "another type": (lambda g: signature("step")(g).inputs["tokens"].__setattr__("dtype", 9), "takes state_0 float32"),
    "a type that is none": (
        lambda g: signature("step")(g).inputs["tokens"].__setattr__("dtype", 999), "tokens type 999"),
    "a state missing": (lambda g: signature("step")(g).inputs.pop("state_2"), "signature 'step' must take state_0"),
    "a state more": (
        lambda g: signature("step")(g).outputs["state_3"].CopyFrom(signature("step")(g).outputs["state_2"]),
        "signature 'step' must"),
    "another graph": (lambda g: g.meta_graphs.add().CopyFrom(g.meta_graphs[0]), "one graph with the tag 'serve'"),
    "another tag": (lambda g: g.meta_graphs[0].meta_info_def.tags.append("gpu"), "one graph with the tag 'serve'"),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNATURES)
def test_other_signatures_than_those_of_an_export_are_differences(directory, graph, case):
    spoil, message = SIGNATURES[case]
    spoil(graph)
    (directory / GRAPH).write_bytes(graph.SerializeToString())
    seal(directory)
    differences = inspect_model(directory).differences
    assert differences and all(message in difference for difference in differences), differences


def test_inspect_says_that_the_weights_do_not_fit(directory, inspect):
    changed(*FIELD, "units", to=999)(directory)
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "must be float32 (3, 3996)" in output
    shutil.rmtree(directory / "variables")
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "it has no variables/variables.index" in output


BAD = {
    "absent": lambda path: None,
    "a file": lambda path: path.write_text("x"),
    "empty": lambda path: path.mkdir(),
    "no message": lambda path: (path.mkdir(), (path / GRAPH).write_bytes(b"\xff" * 99)),
    "no graph": lambda path: (path.mkdir(), (path / GRAPH).write_bytes(b"")),
    "a link": lambda path: (path.mkdir(), (path / GRAPH).symlink_to("/dev/zero")),
    "a FIFO": lambda path: (path.mkdir(), os.mkfifo(path / GRAPH)),
    "a folder": lambda path: (path / GRAPH).mkdir(parents=True),
    "too large": lambda path: (path.mkdir(), sparse(GRAPH, 2**29 + 1)(path)),
}


@pytest.mark.parametrize("case", BAD)
def test_inspect_refuses_in_one_line(tmp_path, inspect, case):
    BAD[case](tmp_path / "model")
    status, output, error = inspect(tmp_path / "model")
    assert (status, output) == (2, "")
    assert error.startswith("tfcharlm: ") and error.count("\n") == 1 and str(tmp_path) in error

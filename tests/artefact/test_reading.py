"""Directories that a stranger wrote: which files `load_model` opens, and which it refuses."""

import os
import pickle
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.auditing import Bomb, assert_hostile_is_refused, assert_refused, audited, misdeeds
from helpers.exported_directories import (
    CONFIG,
    DATA,
    FIELD,
    GRAPH,
    INDEX,
    MANIFEST,
    changed,
    fifo,
    indexed,
    linked,
    many_files,
    replaced,
    seal,
    serialized,
    sparse,
    swapped,
    unix_socket,
    written,
)
from helpers.foreign_models import save_foreign_model

import tfcharlm
from tfcharlm.artefact import reading

pytestmark = pytest.mark.usefixtures("warm")

# Spoilt, with a manifest that does not know it.
CHANGED = {
    "no configuration": (lambda d: (d / CONFIG).unlink(), "config.json' is missing"),
    "no graph": (lambda d: (d / GRAPH).unlink(), "not a tfcharlm model"),
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
    "101 files": (many_files, "more than 100 files"),
    "a large manifest": (sparse(MANIFEST, 2**16 + 1), "manifest.json has 65,537 bytes; at most"),
    "a deep manifest": (written(MANIFEST, b'{"a":' * 10_000), "manifest.json is damaged: it is nested too deeply"),
    "a manifest of lists": (written(MANIFEST, b"[[1, 2]]"), "manifest.json is damaged"),
    "a manifest that is a number": (written(MANIFEST, b"1"), "manifest.json is damaged"),
    "a manifest with a key twice": (written(MANIFEST, b'{"a": 1, "a": 1}'), "'a' occurs twice"),
    "a manifest with a path upwards": (
        written(MANIFEST, b'{"../outside": {"bytes": 1, "sha256": ""}}'), r"'../outside' is missing"),
    "a manifest with an absolute path": (
        written(MANIFEST, b'{"/etc/passwd": {"bytes": 1, "sha256": ""}}'), r"'/etc/passwd' is missing"),
    "a manifest in other words": (
        lambda d: (d / MANIFEST).write_text((d / MANIFEST).read_text() + "\n"), "not as an export writes it"),
}  # fmt: skip

# Spoilt, with a manifest that agrees: files that are not regular.
SEALED = {
    "configuration is a link": (linked(CONFIG), "config.json' is a symbolic link"),
    "data is a link": (linked(DATA), "is a symbolic link"),
    "manifest is a link": (linked(MANIFEST), "manifest.json' is a symbolic link"),
    "a folder is a link": (linked("assets.extra"), "'assets.extra' is a symbolic link"),
    "the folder of variables is a link": (linked("variables"), "'variables' is a symbolic link"),
    "a link to nothing": (lambda d: (d / "link").symlink_to("nowhere"), "'link' is a symbolic link"),
    "a link to itself": (lambda d: (d / "assets" / "link").symlink_to(".."), "'assets/link' is a symbolic link"),
    "a link to a device": (lambda d: (d / "link").symlink_to("/dev/zero"), "'link' is a symbolic link"),
    "configuration is a FIFO": (fifo(CONFIG), "config.json' is not a regular file"),
    "a FIFO beside it": (fifo("fifo"), "'fifo' is not a regular file"),
    "a socket beside it": (unix_socket, "'socket' is not a regular file"),
    "configuration is a folder": (
        lambda d: ((d / CONFIG).unlink(), (d / CONFIG).mkdir()), "has no assets.extra/config.json"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_directory_is_refused(directory, case):
    spoil, message = CHANGED[case]
    spoil(directory)
    assert_refused(directory, message)


@pytest.mark.parametrize("case", SEALED)
def test_a_hostile_directory_with_a_manifest_that_agrees_is_refused(directory, case):
    assert_hostile_is_refused(directory, *SEALED[case])


def test_read_gives_parts_and_arrays(exported, model):
    """What `load_model` makes a model of: the arguments of `CharLM`, and its weights in their order."""
    parts, arrays = reading.read(exported)
    assert tfcharlm.CharLM(**parts).get_config() == model.get_config()
    assert [(array.dtype, array.shape) for array in arrays] == [(w.dtype, w.shape) for w in model.get_weights()]
    for array, weight in zip(arrays, model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, weight)
    # Read from the bytes of the file, not copied.
    assert not any(array.flags.writeable for array in arrays)


RECORD = "assets.extra/training.json"
# What is in the record, with a manifest that agrees, and why it is refused.
BAD_RECORDS = {
    "no JSON": (written(RECORD, b"lines: true"), "training.json is not strict JSON"),
    "not UTF-8": (written(RECORD, b'{"corpus": "\xff"}'), "training.json is not strict JSON"),
    "empty": (written(RECORD, b""), "training.json is not strict JSON"),
    "a key twice": (written(RECORD, b'{"lines": true, "lines": false}'), "the key 'lines' occurs twice"),
    "not a number": (written(RECORD, b'{"val_loss": NaN}'), "NaN is not a number in JSON"),
    "deep": (written(RECORD, b'{"a":' * 10_000), "nested too deeply"),
    "a list": (written(RECORD, b"[true]"), "training.json must be a JSON object; received [True]"),
    "large": (sparse(RECORD, 2**20 + 1), "training.json has 1,048,577 bytes; at most 1,048,576 are read"),
    "a link": (lambda d: (d / RECORD).symlink_to("/etc/passwd"), "training.json' is a symbolic link"),
    "a FIFO": (fifo(RECORD), "training.json' is not a regular file"),
}


def test_a_record_is_read_as_data(directory):
    assert reading.read_record(directory, "training.json") == {}
    (directory / RECORD).write_text('{"lines": true, "corpus": "\u00e9"}')
    with pytest.raises(ValueError, match=r"cannot be read: 'assets.extra/training.json' was added$"):
        reading.read_record(directory, "training.json")
    seal(directory)
    records = []
    events = audited(lambda: records.append(reading.read_record(directory, "training.json")))
    assert records == [{"lines": True, "corpus": "é"}] and list(misdeeds(events, directory)) == []


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_bad_record_is_refused_in_one_line(directory, case):
    spoil, message = BAD_RECORDS[case]
    spoil(directory)
    seal(directory)
    with pytest.raises(ValueError) as error:
        reading.read_record(directory, "training.json")
    assert message in str(error.value) and str(error.value).isprintable() and len(str(error.value)) <= 300


def test_what_the_spoilers_do_is_what_is_refused(directory):
    """The negative control: a manifest of the tests, and an index that the tests wrote, with the right entries."""
    indexed()(directory)
    seal(directory)
    tfcharlm.load_model(directory)


def test_versions_of_a_stranger(directory, tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir()
    assert_refused(parent, "not a tfcharlm model")
    (parent / "3").symlink_to(directory)
    assert_refused(parent, "is a symbolic link, which is not followed")
    (parent / "4").write_text("")
    assert_refused(parent, "is a symbolic link, which is not followed")
    assert_refused(tmp_path / "absent", "is not a directory")
    assert_refused(parent / "4", "is not a directory")
    tfcharlm.load_model(parent / "3")  # what the user names may be a link


def test_a_foreign_graph_is_no_model(tmp_path):
    foreign = save_foreign_model(tmp_path)
    assert_refused(foreign, "has no assets.extra/manifest.json")
    (foreign / "assets.extra").mkdir()
    seal(foreign)
    assert_refused(foreign, "has no assets.extra/config.json")


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
    read_config = reading.read_config

    def change_then_read(*arguments):
        changed(*FIELD, "activation", to="relu")(directory)
        return read_config(*arguments)

    monkeypatch.setattr(reading, "read_config", change_then_read)
    with pytest.raises(ValueError, match=r"config\.json changed while it was read"):
        tfcharlm.load_model(directory)


def test_a_folder_that_becomes_a_link_is_not_followed(directory, model, monkeypatch, tmp_path):
    """The file that a name meant at the start is read, whatever the name means later."""
    outside = shutil.copytree(directory / "variables", tmp_path / "outside")
    (outside / "variables.data-00000-of-00001").write_bytes(b"\0" * (directory / DATA).stat().st_size)
    check_manifest = reading.check_manifest

    def check_then_swap(files):
        checked = check_manifest(files)
        (directory / "variables").rename(tmp_path / "moved")
        (directory / "variables").symlink_to(outside)
        return checked

    monkeypatch.setattr(reading, "check_manifest", check_then_swap)
    loaded = tfcharlm.load_model(directory)
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_no_initializer_runs(directory, monkeypatch):
    """They are a stranger's choice, and may need far more time and memory than the weights."""
    changed(*FIELD, "recurrent_initializer", to=serialized("keras.initializers", "Orthogonal"))(directory)
    seal(directory)
    shapes = set()
    for kind in (keras.initializers.Orthogonal, keras.initializers.GlorotUniform, keras.initializers.RandomNormal):

        def record(self, shape, dtype=None, original=kind.__call__):
            shapes.add(tuple(shape))
            return original(self, shape, dtype)

        monkeypatch.setattr(kind, "__call__", record)
    loaded = tfcharlm.load_model(directory)
    # Those of twins with two units are tried, because only a cell knows whether its initializers fit.
    assert shapes and not shapes & {tuple(weight.shape) for weight in loaded.weights}


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

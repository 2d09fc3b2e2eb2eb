"""Checkpoints of the store alone, and ways to damage them."""

import os
import shutil

import numpy as np
import tensorflow as tf

from tfcharlm.atomic_files import lock
from tfcharlm.checkpoint import Checkpoint, CheckpointStore

FILES = ("arrays.npy", "manifest.sha256", "state.json")


def silent(directory, **interval):
    """A `Checkpoint` that prints nothing."""
    return Checkpoint(directory, **interval, notify=lambda line: None)


def tree_of(step):
    """What a checkpoint may hold; another one for every step."""
    rng = np.random.default_rng(step)
    arrays = [rng.normal(size=(3, 5)).astype(np.float32), tf.constant(rng.normal(size=7), tf.bfloat16).numpy()]
    return {"progress": {"step": step, "stopped": False}, "logs": [[0, {"loss": "nan"}], None], "arrays": arrays}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return type(a) is type(b) and a == b


def directory_with(path, *steps):
    path.mkdir()
    saved = CheckpointStore(path)
    for step in steps:
        saved.save(step, tree_of(step))
    return path


def next_process(directory):
    """A store as the next process finds it, with the step that it goes on from and what it says."""
    with lock(directory, "another run"):
        reloaded = CheckpointStore(directory)
        step, tree, damages = reloaded.load_newest()
        assert same(tree, tree_of(step))
        return reloaded, step, damages


def assert_clean(directory, *steps):
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        ["lock", *(f"checkpoint-{s:010}" for s in steps)]
    )


def other_of(path):
    """The file of the same name in the other checkpoint."""
    return next(p for p in path.parent.parent.glob(f"checkpoint-*/{path.name}") if p != path)


def sibling_of(path):
    return path.with_name(FILES[FILES.index(path.name) - 1])


def swap(path, rng):
    mine, its = path.read_bytes(), sibling_of(path).read_bytes()
    path.write_bytes(its)
    sibling_of(path).write_bytes(mine)


def zero_a_block(path, rng):
    data = bytearray(path.read_bytes())
    begin = rng.integers(len(data) - 16)
    data[begin : begin + 16] = bytes(16)
    path.write_bytes(data)


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def replace(path, make):
    path.unlink()
    make(path)


DAMAGES = {
    "emptied": lambda path, rng: path.write_bytes(b""),
    "cut in half": lambda path, rng: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by a byte": lambda path, rng: path.write_bytes(path.read_bytes()[:-1]),
    "a byte too long": lambda path, rng: path.write_bytes(path.read_bytes() + b"\0"),
    "a bit flipped": flip,
    "a block of zeros": zero_a_block,
    "other bytes": lambda path, rng: path.write_bytes(rng.bytes(path.stat().st_size)),
    "deleted": lambda path, rng: path.unlink(),
    "a directory": lambda path, rng: replace(path, os.mkdir),
    "a dangling link": lambda path, rng: replace(path, lambda path: path.symlink_to("nowhere")),
    "a FIFO": lambda path, rng: replace(path, os.mkfifo),
    "the other checkpoint's": lambda path, rng: shutil.copyfile(other_of(path), path),
    "swapped with another file": swap,
    "renamed": lambda path, rng: path.rename(path.with_name("other")),
}

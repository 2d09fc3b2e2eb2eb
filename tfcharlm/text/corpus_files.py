"""The ids of a corpus on the disk: files that are read in place, and a manifest that says what they were made of.

The manifest is written last. Without it, or if a file has another size, nothing in the directory is used.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfcharlm.atomic_files import lock, partial_path, replace_file, writing_to
from tfcharlm.text.parts import TextPart
from tfcharlm.text.split import TextSplit
from tfcharlm.text.text_file import quoted_path
from tfcharlm.text.vocabulary import Vocabulary

MANIFEST, VERSION = "manifest.json", 1
NAMES = ("ids", "train.begins", "train.lengths", "validation.begins", "validation.lengths")
# Corpora of fewer tokens are read into memory, where they take four bytes for each.
IN_MEMORY = 1 << 23


class MemoryFiles:
    """Files in memory, for a corpus without a directory."""

    def __init__(self) -> None:
        self._files: dict[str, io.BytesIO] = {}

    def open(self, name: str) -> BinaryIO:
        """A new file."""
        self._files[name] = io.BytesIO()
        return self._files[name]

    def array(self, name: str, dtype: str, in_memory: bool) -> np.ndarray:
        """What was written to a file, as an array."""
        return np.frombuffer(self._files[name].getbuffer(), dtype)


class DiskFiles:
    """Files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, tuple[Path, BinaryIO]] = {}

    @classmethod
    @contextlib.contextmanager
    def writing(cls, directory: Path) -> Iterator["DiskFiles"]:
        """A block that replaces the files of a directory. Before `finish`, they have partial names."""
        files = cls(directory)
        with lock(directory, "another run"), writing_to(directory):
            (directory / MANIFEST).unlink(missing_ok=True)
            try:
                yield files
            except OSError as error:
                # An error with a number comes from the system and is about the ids. Errors about texts have none.
                if error.errno is None:
                    raise
                raise OSError(f"the ids cannot be written to {quoted_path(directory)}: {error.strerror}") from error
            finally:
                for path, file in files._open.values():
                    # On a full disk, closing fails because it writes what is left.
                    with contextlib.suppress(OSError):
                        file.close()
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        """A new file."""
        path = partial_path(self.directory / name)
        self._open[name] = path, path.open("wb", buffering=1 << 20)
        return self._open[name][1]

    def rename(self) -> None:
        """Gives the files their names, when all of them are on the disk."""
        for name, (path, file) in self._open.items():
            file.flush()
            os.fsync(file.fileno())
            file.close()
            path.replace(self.directory / name)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Writes the manifest, with the sizes of all files."""
        sizes = {name: (self.directory / name).stat().st_size for name in self._open}
        write_manifest(self.directory, {"version": VERSION, "files": sizes, **manifest})

    def array(self, name: str, dtype: str, in_memory: bool) -> np.ndarray:
        """The content of a file, read into memory or in place."""
        path = self.directory / name
        return np.fromfile(path, dtype) if in_memory else np.memmap(path, dtype, "r")


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest, or replaces it."""
    text = json.dumps(manifest)
    replace_file(directory / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a directory, or None if there is nothing in it that can be trusted."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        if manifest["version"] != VERSION or not {"ids"} <= set(manifest["files"]) <= set(NAMES):
            return None
        if any((directory / name).stat().st_size != size for name, size in manifest["files"].items()):
            return None
        return manifest if isinstance(manifest["record"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def with_exact_counts(files: MemoryFiles | DiskFiles, record: dict[str, Any]) -> dict[str, Any]:
    """The record of a corpus with the token counts of both parts, where the first one has those of both together."""
    if record["kind"] == "lines" or not record.get("ends_are_held_out", True):
        return record
    held_out = np.array(_part(files, record, "validation", with_counts=False).token_counts)
    counts = {"train": (np.array(record["counts"]["train"]) - held_out).tolist(), "validation": held_out.tolist()}
    return record | {"counts": counts}


def split_from(files: MemoryFiles | DiskFiles, record: Mapping[str, Any], notes: tuple[str, ...] = ()) -> TextSplit:
    """The corpus that a record describes."""
    return TextSplit(
        Vocabulary.from_config(record["vocabulary"]),
        _part(files, record, "train"),
        _part(files, record, "validation"),
        description=record["description"],
        sha256=record["sha256"],
        item_end=record["item_end"],
        notes=notes,
    )


def _part(files, record, name, with_counts=True):
    kind, small = record["kind"], record["tokens"] <= IN_MEMORY or isinstance(files, MemoryFiles)
    ids = files.array("ids", record["dtype"], small)
    ids = ids.astype(np.int32) if small else ids
    size = len(record["vocabulary"]["tokens"])
    known: dict[str, Any] = {"known_sha256": record["digests"][name]}
    if with_counts:
        known["known_counts"] = np.array(record["counts"][name], np.int64)
    if kind == "stream":
        cut = record["cut"]
        return TextPart(size, ids[:cut] if name == "train" else ids[cut:], **known)
    begins = files.array(f"{name}.begins", "<i8", small or kind == "documents")
    lengths = files.array(f"{name}.lengths", "<u4" if kind == "lines" else "<i8", small or kind == "documents")
    return TextPart(size, ids, kind, begins, lengths, **known)

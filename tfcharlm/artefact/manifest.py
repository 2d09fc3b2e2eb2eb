"""The checksums of an export: a missing or added file, and every changed bit, is noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tfcharlm.artefact.layout import MANIFEST
from tfcharlm.artefact.safe_files import list_files, parse_json, read_file, sha256

MAX_MANIFEST = 2**20


class File(NamedTuple):
    """The size of a file in bytes, and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


def write_manifest(directory: Path | str) -> None:
    """Writes the sizes and SHA-256 sums of all files in `directory` to its `assets.extra/manifest.json`."""
    Path(directory, MANIFEST).write_bytes(_canonical(_sums(directory)))


def check_manifest(directory: Path | str) -> tuple[dict[str, File], list[str]]:
    """Compares a directory with its manifest.

    A manifest shows that nothing was changed by accident or on the way. Whoever can write the directory can also write
    a manifest that agrees with it, so the content of the files must be checked as well.

    Args:
        directory: an export.

    Returns:
        `(files, differences)`: `{name: File(bytes, sha256)}` of all files but the manifest, and one line for each file
        that the manifest describes differently; an empty list if all files agree.

    Raises:
        ValueError: there are links or other irregular files, or the manifest itself is damaged.
    """
    sizes = list_files(directory)
    if MANIFEST not in sizes:
        return {}, [f"it has no {MANIFEST}, so it is not a tfcharlm model, or from a version before 0.1"]
    stored = read_file(Path(directory, MANIFEST), MAX_MANIFEST)
    files = _sums(directory)
    # The bytes are compared, not their meaning: so no bit of the manifest itself can change unnoticed.
    if stored == _canonical(files):
        return files, []
    return files, _differences(files, _parse(stored)) or [f"{MANIFEST} is not as an export writes it"]


def read_listed(directory: Path | str, name: str, files: Mapping[str, File], limit: int) -> bytes:
    """Reads a file that `check_manifest` has seen.

    Args:
        directory: an export.
        name: the path of the file in it.
        files: as `check_manifest` returned them.
        limit: how many bytes are read at most.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: there is no such file, it is too large, or it has changed since `check_manifest`.
    """
    if name not in files:
        raise ValueError(f"it has no {name}")
    content = read_file(Path(directory, name), limit)
    if hashlib.sha256(content).hexdigest() != files[name].sha256:
        raise ValueError(f"{name} changed while it was read")
    return content


def _sums(directory):
    names = sorted(list_files(directory).items())
    return {name: File(size, sha256(Path(directory, name))) for name, size in names if name != MANIFEST}


def _canonical(files):
    return json.dumps({name: file._asdict() for name, file in files.items()}, indent=1, sort_keys=True).encode()


def _parse(stored):
    try:
        return {name: File(**file) for name, file in parse_json(stored).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"its {MANIFEST} is damaged: {error}") from error


def _differences(files, recorded):
    differences = []
    for name in sorted(files.keys() | recorded.keys()):
        found, expected = files.get(name), recorded.get(name)
        if found is None:
            differences.append(f"{name!r:.200} is missing")
        elif expected is None:
            differences.append(f"{name!r:.200} was added")
        elif found.bytes != expected.bytes:
            differences.append(f"{name!r:.200} has {found.bytes} bytes instead of {expected.bytes!r:.30}")
        elif found != expected:
            differences.append(f"{name!r:.200} has been changed (its SHA-256 sum differs)")
    return differences

"""The checksums of an export: a missing or added file, and every changed bit, is noticed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tfcharlm.artefact.directories import MANIFEST
from tfcharlm.artefact.safe_files import OpenFiles, open_files
from tfcharlm.artefact.strict_json import parse_json, write_json

MAX_MANIFEST = 2**16


class File(NamedTuple):
    """The size of a file in bytes, and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


def write_manifest(directory: Path | str) -> None:
    """Writes the sizes and SHA-256 sums of all files in `directory` to its `assets.extra/manifest.json`."""
    with open_files(directory) as files:
        content = _content(_sums(files))
    Path(directory, MANIFEST).write_bytes(content)


def check_manifest(files: OpenFiles) -> tuple[dict[str, File], list[str]]:
    """Compares the files of a directory with their manifest.

    A manifest shows that nothing was changed by accident or on the way. Whoever can write the directory can also write
    a manifest that agrees with it, so the content of the files must be checked as well.

    Args:
        files: as `open_files` gives them.

    Returns:
        `(sums, differences)`: `{name: File(bytes, sha256)}` of all files but the manifest, and one line for each link
        and for each file that the manifest describes differently; an empty list if all files agree.

    Raises:
        ValueError: the manifest itself is damaged.
    """
    if MANIFEST not in files:
        missing = f"it has no {MANIFEST}, so it is not a tfcharlm model, or from a version before 0.1"
        return {}, [*files.irregular, missing]
    stored = files[MANIFEST].read(MAX_MANIFEST)
    sums = _sums(files)
    # The bytes are compared, not their meaning: so no bit of the manifest itself can change unnoticed.
    if stored == _content(sums):
        return sums, list(files.irregular)
    return sums, files.irregular + (_differences(sums, _parse(stored)) or [f"{MANIFEST} is not as an export writes it"])


def read_listed(files: OpenFiles, name: str, sums: Mapping[str, File], limit: int) -> bytes:
    """Reads a file that `check_manifest` has seen.

    Args:
        files: as `open_files` gives them.
        name: the path of the file in the directory.
        sums: as `check_manifest` returned them.
        limit: how many bytes are read at most.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: there is no such file, it is too large, or it has changed since `check_manifest`.
    """
    if name not in sums:
        raise ValueError(f"it has no {name}")
    content = files[name].read(limit)
    if hashlib.sha256(content).hexdigest() != sums[name].sha256:
        raise ValueError(f"{name} changed while it was read")
    return content


def _sums(files):
    return {name: File(file.size, file.sha256()) for name, file in sorted(files.items()) if name != MANIFEST}


def _content(sums):
    return write_json({name: file._asdict() for name, file in sums.items()}, ascii_only=True)


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

"""The sums of an export: a file that is missing, added or changed is noticed, down to a bit."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from tfcharlm.artefact.layout import MANIFEST
from tfcharlm.artefact.safe_files import list_files, parse_json, read_file, sha256

MAX_MANIFEST = 2**20


class File(NamedTuple):
    bytes: int
    sha256: str


def write_manifest(directory):
    """Writes the sizes and SHA-256 sums of all files of `directory` into its `assets.extra/manifest.json`."""
    Path(directory, MANIFEST).write_bytes(_canonical(_sums(directory)))


def check_manifest(directory):
    """Compares a directory with its manifest.

    A manifest says that nothing was changed by accident or underway. Who can write the directory can write a manifest
    that agrees: what is in the files must be checked as well.

    Args:
        directory: an export.

    Returns:
        `(files, differences)`: `{name: File(bytes, sha256)}` of what is there without the manifest, and a list of
        sentences about what the manifest says otherwise, empty if there is nothing.

    Raises:
        ValueError: there are links or other irregular files, or the manifest is damaged itself.
    """
    sizes = list_files(directory)
    if MANIFEST not in sizes:
        return {}, [f"it has no {MANIFEST}, so it is no tfcharlm model, or of a version before 0.1"]
    stored = read_file(Path(directory, MANIFEST), MAX_MANIFEST)
    files = _sums(directory)
    # Bytes and not what they mean: so no bit of the manifest itself can change unnoticed.
    if stored == _canonical(files):
        return files, []
    return files, _differences(files, _parse(stored)) or [f"{MANIFEST} is not as an export writes it"]


def read_listed(directory, name, files, limit):
    """The bytes of a file that `check_manifest` has seen, the same bytes again; ValueError if they are others."""
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
        there, then = files.get(name), recorded.get(name)
        if there is None:
            differences.append(f"{name!r:.200} is missing")
        elif then is None:
            differences.append(f"{name!r:.200} was added")
        elif there.bytes != then.bytes:
            differences.append(f"{name!r:.200} has {there.bytes} bytes instead of {then.bytes!r:.30}")
        elif there != then:
            differences.append(f"{name!r:.200} has been changed (its SHA-256 sum is another)")
    return differences

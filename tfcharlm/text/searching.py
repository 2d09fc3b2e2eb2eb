"""The files of a directory, and those that match a pattern."""

import functools
import glob
import os
import re
from pathlib import Path

from tfcharlm.text.text_file import quoted_path


def walk(directory: str, skipped: list[str]) -> list[str]:
    """The paths of all files below a directory, sorted; without hidden ones, and without models and their runs.

    Args:
        directory: its path. Links to other directories are not followed.
        skipped: a list, to which the paths of models and of their runs are added.

    Raises:
        OSError: a directory cannot be read.
    """
    paths = []
    for folder, folders, files in os.walk(directory, onerror=_raise):
        shown = [name for name in folders if not name.startswith(".")]
        models = sorted(name for name in shown if _is_of_model(Path(folder, name)))
        folders[:] = [name for name in shown if name not in models]
        skipped += [str(Path(folder, name)) for name in models]
        paths += [str(Path(folder, name)) for name in files if not name.startswith(".")]
    return sorted(paths)


def matches(pattern: str, skipped: list[str]) -> list[str]:
    """The paths of the files that match a pattern, sorted; without hidden ones, and without models and their runs.

    Args:
        pattern: as for `glob`. It must name hidden files as such, and ** does not follow links to directories.
        skipped: a list, to which the paths of models and of their runs are added.

    Raises:
        OSError: there are none.
    """
    # `glob.iglob` would follow links below **, also those that lead back.
    path = Path(f"{pattern}/*" if Path(pattern).name == "**" else pattern)
    # Elsewhere than alone, ** means what * means.
    parts = [part if part == "**" else re.sub(r"\*\*+", "*", part) for part in path.parts]
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    hidden = any(part.startswith(".") for part in parts[first:])
    base = Path(*parts[:first])
    found = (path.relative_to(base) for path in base.glob(str(Path(*parts[first:]))))
    shown = (path for path in found if hidden or not any(part.startswith(".") for part in path.parts))
    of_model = functools.cache(_is_of_model)
    paths, models = [], set()
    for path in shown:
        above = [base / parent for parent in path.parents if parent.name and of_model(base / parent)]
        models.update(above[-1:])
        if not above and (base / path).is_file():
            paths.append(str(base / path))
    if not paths:
        raise FileNotFoundError(f"no file matches {quoted_path(pattern)}")
    skipped += sorted(map(str, models))
    return sorted(paths)


def _is_of_model(folder):
    """Whether a directory is an exported model, or has the checkpoints or the ids of a run."""
    names = ["saved_model.pb", *(("lock", "finished") if folder.name in ("checkpoints", "corpus") else ())]
    # `Path.exists` raises an error in a directory that cannot be searched.
    return any(os.path.exists(folder / name) for name in names)  # noqa: PTH110


def _raise(error):
    raise OSError(f"{quoted_path(error.filename)} cannot be read: {error.strerror}") from error

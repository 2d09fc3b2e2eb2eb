"""The settings of a search: they are saved with it, and a resumed search must have the same."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.console

from tfcharlm.atomic_files import replace_file
from tfcharlm.bookkeeping import read_object

SETTINGS = "settings.json"


def has_search(directory: Path) -> bool:
    """Whether a search has begun in a directory."""
    # A link or a FIFO of this name counts, too: it is reported and replaced.
    exists = os.path.lexists(directory / SETTINGS)
    return exists or any(directory.glob("oracle.json*")) or any(directory.glob("trial_*"))


def check_resumed(directory: Path, resume: bool, role: str | None) -> None:
    """Raises a ValueError if there is a search that must be resumed, or none that can be."""
    if has_search(directory):
        if not resume and role in (None, "chief"):
            raise ValueError(f"{directory} has a search; type --resume to continue it, or give another --name.")
    elif resume and role is None:
        # Only without a role: a launcher always starts the same command, also for a new search.
        raise ValueError(f"there is no search to resume in {directory}; type the command without --resume.")


def check_settings(
    console: rich.console.Console, directory: Path, settings: Mapping[str, Any], resume: bool, role: str | None
) -> None:
    """Saves the settings of a search, or compares them with the saved ones: with others, trials are not comparable."""
    file, before = directory / SETTINGS, None
    if role not in (None, "chief") and not os.path.lexists(file):
        return
    check_resumed(directory, resume, role)
    if has_search(directory):
        try:
            before = read_object(file)
        except PermissionError:
            raise
        except (OSError, ValueError) as error:
            if file.is_dir():
                raise
            console.print(f"{error} The search is assumed to have started with these options.")
    if before is None:
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(file, lambda path: path.write_text(json.dumps(settings, indent=1), encoding="utf-8"))
        return
    for name, value in json.loads(json.dumps(settings)).items():
        # The text is compared by its sum: from another working directory, the same file has another path.
        if name != "corpus" and before.get(name) != value:
            what = "another text" if name == "sha256" else f"--{name.replace('_', '-')} {_typed(before.get(name))}"
            raise ValueError(
                f"this search started with {what}, and its results would not be comparable; type the same command as "
                "before with --resume, or give another --name."
            )


def _typed(value: Any) -> str:
    """A value as the user would type it."""
    text = ",".join(map(str, value)) if isinstance(value, list) else "not given" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."

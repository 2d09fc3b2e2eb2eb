"""The settings of a search: they are saved with it, and a resumed search must have the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.console

from tfcharlm.atomic_files import replace_file

SETTINGS = "settings.json"


def check_settings(
    console: rich.console.Console, directory: Path, settings: Mapping[str, Any], resume: bool, role: str | None
) -> None:
    """Saves the settings of a search, or compares them with the saved ones: with others, trials are not comparable."""
    file, before = directory / SETTINGS, None
    if role not in (None, "chief") and not file.exists():
        return
    if file.exists() or any(directory.glob("oracle.json*")) or any(directory.glob("trial_*")):
        if not resume and role in (None, "chief"):
            raise ValueError(f"{directory} has a search; type --resume to continue it, or give another --name.")
        try:
            before = {**json.loads(file.read_text(encoding="utf-8"))}
        except PermissionError:
            raise
        except (OSError, ValueError, TypeError, RecursionError):
            console.print(f"{file} cannot be read; the search is assumed to have started with these options.")
    elif resume and role is None:
        # Only without a role: a launcher always starts the same command, also for a new search.
        raise ValueError(f"there is no search to resume in {directory}; type the command without --resume.")
    if before is None:
        directory.mkdir(parents=True, exist_ok=True)
        replace_file(file, lambda path: path.write_text(json.dumps(settings, indent=1)))
        return
    for name, value in json.loads(json.dumps(settings)).items():
        if before.get(name) != value:
            what = "another text" if name == "sha256" else f"--{name.replace('_', '-')} {_typed(before.get(name))}"
            raise ValueError(
                f"this search started with {what}, and its results would not be comparable; type the same command as "
                "before with --resume, or give another --name."
            )


def _typed(value: Any) -> Any:
    """A value as the user would type it."""
    return ",".join(map(str, value)) if isinstance(value, list) else "not given" if value is None else value

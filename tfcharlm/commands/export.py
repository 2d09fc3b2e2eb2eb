"""`tfcharlm export`: a trained model as a file for a browser, a phone or another runtime."""

from pathlib import Path
from typing import Any

import click

from tfcharlm.artefact import latest_version, model_name
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.model import load_model


def export(model: Path, file: Path, format: str, **options: Any) -> None:
    """Writes a model to a file, and says how large it is. The options are those of the format."""
    with one_line_errors():
        directory = latest_version(model)
        if format == "html":
            options["name"] = model_name(directory)
        path = load_model(directory).export(file, format=format, **options)
        size = sum(one.stat().st_size for one in path.rglob("*")) if path.is_dir() else path.stat().st_size
        click.echo(f"{path}: {size:,} bytes.")

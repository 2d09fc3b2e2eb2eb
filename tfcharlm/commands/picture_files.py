"""Writes the files of `tfcharlm plot`."""

import warnings
from pathlib import Path
from typing import Any

import click

from tfcharlm import plots
from tfcharlm.atomic_files import replace_file
from tfcharlm.cli import check_output


def write_picture(path: Path, picture: Any) -> None:
    """Writes a figure, or a page as a string. A ValueError if a file was made there in the meantime."""
    with warnings.catch_warnings():
        # A character that is missing in the font is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        content = picture.encode("utf-8") if isinstance(picture, str) else plots.image(picture, path.suffix[1:])
    # Under this name, the picture is complete or absent, whatever happens to this process.
    check_output(path, (path.suffix,))
    try:
        replace_file(path, lambda partial: partial.write_bytes(content))
    except OSError as error:
        raise OSError(f"{click.format_filename(path)} cannot be written: {error.strerror}") from error
    click.echo(f"Written: {click.format_filename(path)}")

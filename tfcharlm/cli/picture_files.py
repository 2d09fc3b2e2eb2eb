"""The files that `tfcharlm plot` writes: their endings, and that none is overwritten."""

import os
import warnings
from pathlib import Path
from typing import Any

import click

from tfcharlm import plots
from tfcharlm.atomic_files import replace_file

IMAGES, PAGE = (".png", ".svg"), ".html"


def check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Raises a ValueError if no file with one of these endings can be written to this path."""
    if path.suffix not in endings:
        raise ValueError(f"--output must end in {' or '.join(endings)}; received {path}.")
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already, and no file is overwritten; give another file with --output.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path.parent} is not a directory; give another file with --output.")


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

"""The files that `tfcharlm plot` writes: their endings, and that none is overwritten."""

import importlib.util
import os
from pathlib import Path

IMAGES, PAGE = (".png", ".svg"), ".html"


def check_output(path: Path, endings: tuple[str, ...]) -> None:
    """Raises a ValueError if no file with one of these endings can be written to this path."""
    if path.suffix not in endings:
        raise ValueError(f"--output must end in {' or '.join(endings)}; received {path}.")
    if path.suffix in IMAGES and importlib.util.find_spec("matplotlib") is None:
        raise ValueError('a picture needs the package matplotlib; type pip install "tfcharlm[plots]".')
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already, and no file is overwritten; give another file with --output.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path.parent} is not a directory; give another file with --output.")

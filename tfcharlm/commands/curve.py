"""`tfcharlm plot curve`, which needs no TensorFlow."""

from pathlib import Path

from tfcharlm import plots
from tfcharlm.artefact.directories import EXTRA, LEARNING_CURVE, latest_version
from tfcharlm.cli import IMAGES, check_output, one_line_errors
from tfcharlm.commands.picture_files import write_picture

CURVE = Path(EXTRA, LEARNING_CURVE)


def curve(model: Path, output: Path) -> None:
    """Draws the learning curve of a model."""
    with one_line_errors():
        check_output(output, IMAGES)
        directory = latest_version(model)
        if not (directory / CURVE).exists():
            raise ValueError(f"{directory} has no {CURVE}; give a model that `tfcharlm train` or `tune` has written.")
        write_picture(output, plots.learning_curve(directory / CURVE))

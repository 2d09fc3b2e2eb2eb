"""Where models are: names of files and directories, versions. It needs no TensorFlow."""

import os
from pathlib import Path, PurePath

from tfcharlm.checks import about

GRAPH, FINGERPRINT = "saved_model.pb", "fingerprint.pb"
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
# TensorFlow copies this folder and does not read it.
EXTRA = "assets.extra"
CONFIG, MANIFEST = f"{EXTRA}/config.json", f"{EXTRA}/manifest.json"
# The model card, and what TensorFlow Serving asks a model before it serves it.
CARD, WARMUP = "README.md", f"{EXTRA}/tf_serving_warmup_requests"
# What `tfcharlm train` and `tune` add to it: the settings of the run, its learning curve as a table and as a picture.
TRAINING, LEARNING_CURVE, LEARNING_CURVE_IMAGE = "training.json", "learning_curve.csv", "learning_curve.png"
# With one of these characters in a path, TensorFlow's reader of checkpoints takes it for a pattern of paths.
PATTERN_CHARACTERS = "*?[]\\"
ADVICE = "give a directory that `tfcharlm train` or CharLM.export made, such as saved_models/shakespeare"
# The models inside an installed package; in a source tree they are beside it.
PRETRAINED = Path(__file__).parents[1] / "pretrained"
PRETRAINED = PRETRAINED if PRETRAINED.is_dir() else Path(__file__).parents[2] / "saved_models"


def model_name(directory: Path | str) -> str:
    """`NAME` of `saved_models/NAME/VERSION` or of `saved_models/NAME`.

    Example:

    >>> from tfcharlm.artefact import model_name
    >>> model_name("saved_models/shakespeare/1"), model_name("saved_models/shakespeare")
    ('shakespeare', 'shakespeare')
    """
    path = Path(directory).absolute()
    return path.parent.name if path.name.isdecimal() else path.name


def versions(directory: Path | str) -> dict[int, Path]:
    """The versions in `saved_models/<name>`: `{number: path}`."""
    return {int(path.name): path for path in Path(directory).glob("*") if path.name.isdecimal()}


def next_version(directory: Path | str) -> Path:
    """The path of the version after the latest one.

    Args:
        directory: `saved_models/<name>`; it need not exist.

    Returns:
        `saved_models/<name>/<version>`, which does not exist yet; version 1 if there is none.

    Example:

    >>> import tempfile
    >>> from tfcharlm.artefact import next_version
    >>> next_version(tempfile.mkdtemp()).name
    '1'
    """
    return Path(directory) / str(max(versions(directory), default=0) + 1)


def latest_version(directory: Path | str) -> Path:
    """The directory itself if it is a SavedModel; otherwise the latest version in it.

    Args:
        directory: `saved_models/<name>/<version>` or `saved_models/<name>`. If there is no such directory, the name of
            a model that comes with the package: `names`.

    Returns:
        `saved_models/<name>/<version>`.

    Raises:
        ValueError: there is no such directory or model, it has no version, or its latest version is a symbolic link.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.artefact import latest_version
    >>> directory = pathlib.Path(tempfile.mkdtemp())
    >>> for version in ("9", "10"):
    ...     (directory / version).mkdir()
    >>> latest_version(directory).name
    '10'
    """
    directory = Path(directory)
    try:
        return _latest_version(directory)
    except OSError as error:  # a name that is too long, or a folder that this user may not search
        raise ValueError(about(directory, f"cannot be read: {error.strerror}; {ADVICE}.")) from error


def _latest_version(directory):
    if not os.path.lexists(directory) and str(directory) == directory.name and (PRETRAINED / directory).is_dir():
        directory = PRETRAINED / directory
    if not directory.is_dir():
        raise ValueError(f"{directory} is not a directory; {ADVICE}.")
    if os.path.lexists(directory / GRAPH):
        return directory
    numbered = {number: path for number, path in versions(directory).items() if path.is_dir()}
    if not numbered:
        raise ValueError(f"{directory} is not a tfcharlm model (it has no {GRAPH} and no version); {ADVICE}.")
    latest = numbered[max(numbered)]
    if latest.is_symlink():
        raise ValueError(f"{latest} is a symbolic link, which is not followed; give the directory that it points to.")
    return latest


def check_no_pattern(path: PurePath | str) -> None:
    """Checks that TensorFlow's reader of checkpoints will not take a path for a pattern of paths.

    Raises:
        ValueError: the path has one of the characters `*?[]`, or a backslash that is not Windows' separator.

    Example:

    >>> from tfcharlm.artefact import check_no_pattern
    >>> check_no_pattern("saved_models/shakespeare")
    """
    path = path if isinstance(path, PurePath) else Path(path)
    if set(PATTERN_CHARACTERS) & set(path.as_posix()):
        raise ValueError(
            f"{path} has one of the characters {PATTERN_CHARACTERS}, which TensorFlow cannot read; rename it."
        )

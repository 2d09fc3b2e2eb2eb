"""The way back: from an exported directory to a model that can be trained on."""

import json
from pathlib import Path

import tensorflow as tf

from tfcharlm.export import FORMAT
from tfcharlm.model import CharLM


def load_model(directory):
    """Rebuilds the `CharLM` that `CharLM.export` wrote.

    It reads the configuration and the numbers; no graph of the directory is loaded or run.

    Args:
        directory: `saved_models/<name>/<version>`, or `saved_models/<name>` for its latest version.

    Returns:
        A `CharLM`, not compiled, with the exported weights.

    Raises:
        ValueError: the directory is no export of this package, or its files contradict each other.

    Example:

    >>> model = CharLM(Vocabulary("abc\\n"), [LSTMCell(5)])
    >>> directory = model.export(tempfile.mkdtemp() + "/abc/1")
    >>> load_model(directory).generate("ab", max_length=4, seed=7) == model.generate("ab", max_length=4, seed=7)
    True
    """
    directory = _latest_version(Path(directory))
    check_no_pattern(directory)
    config = _read_config(directory)
    try:
        model = CharLM.from_config(config["model"])
        reader = tf.train.load_checkpoint(str(directory / "variables" / "variables"))
        values = [reader.get_tensor(f"model_weights/{i}/.ATTRIBUTES/VARIABLE_VALUE") for i in range(len(model.weights))]
        model.set_weights(values)
    except (LookupError, TypeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{directory} is damaged: {_first_line(error)}") from error
    if model.vocabulary.fingerprint != config.get("vocabulary_fingerprint"):
        raise ValueError(
            f"{directory} is damaged: its vocabulary does not have the fingerprint that was exported with it."
        )
    return model


def _latest_version(directory):
    if not directory.exists():
        raise ValueError(f"{directory} does not exist; give a model's directory, such as saved_models/shakespeare.")
    versions = [path for path in directory.glob("*") if path.name.isdecimal() and path.is_dir()]
    return max(versions, key=lambda path: int(path.name), default=directory)


def _read_config(directory):
    path = directory / "assets.extra" / "config.json"
    advice = "give a directory that `tfcharlm train` or CharLM.export made, such as saved_models/shakespeare"
    if not path.is_file():
        raise ValueError(f"{directory} is no tfcharlm model (it has no assets.extra/config.json); {advice}.")
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}; {advice}.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT or "model" not in config:
        raise ValueError(f"{path} is not in format {FORMAT}, which this version of tfcharlm reads; {advice}.")
    return config


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def check_no_pattern(path):
    """Raises ValueError for a path that TensorFlow's reader of checkpoints would take for a pattern of paths."""
    if set("*?[]\\") & set(str(path)):
        raise ValueError(f"{path} has one of the characters *?[]\\, which TensorFlow cannot read; rename it.")

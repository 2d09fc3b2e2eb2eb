"""An exported directory becomes data: the parts of a model and the arrays of its weights. Nothing of it is run."""

from tfcharlm.artefact import config_schema, layout, tensor_bundle
from tfcharlm.artefact.manifest import check_manifest, read_listed
from tfcharlm.artefact.safe_files import parse_json

MAX_INDEX = 2**20


def read(directory):
    """Reads an export, after checking that it is one.

    Args:
        directory: `saved_models/<name>/<version>`.

    Returns:
        `(parts, arrays)`: the arguments of `CharLM` by name, and the arrays of its weights in their order.

    Raises:
        OSError: a file cannot be read.
        ValueError: the directory is not an export of this package, or was changed.
    """
    files, differences = check_manifest(directory)
    if differences:
        raise ValueError(differences[0])
    parts = read_config(directory, files)["model"]
    # Before anybody takes memory for what the configuration asks: the numbers must be there.
    offsets, weights = check_weights(directory, files, parts)
    data = read_listed(directory, layout.DATA, files, files[layout.DATA].bytes)
    return parts, tensor_bundle.read_weights(data, offsets, weights)


def read_config(directory, files):
    """The checked configuration of an export whose files `check_manifest` has seen.

    Returns:
        As `config_schema.parse`.

    Raises:
        ValueError: it is missing, is not strict JSON, or does not say what an export says.
    """
    content = read_listed(directory, layout.CONFIG, files, config_schema.MAX_BYTES)
    config = config_schema.parse(parse_json(content))
    if config["model"]["vocabulary"].fingerprint != config["vocabulary_fingerprint"]:
        raise ValueError("its vocabulary does not have the fingerprint that was exported with it")
    return config


def check_weights(directory, files, parts):
    """Checks the index of an export's variables against its configuration. No weight is read.

    Args:
        directory, files: an export and its files, as `check_manifest` has seen them.
        parts: the arguments of its model, as `read_config` gives them.

    Returns:
        `(offsets, weights)`: as from `tensor_bundle.locate`, and as from `layout.weights`.

    Raises:
        ValueError: they are not what the configuration needs.
    """
    weights = list(layout.weights(**parts))
    index = read_listed(directory, layout.INDEX, files, MAX_INDEX)
    if layout.DATA not in files:
        raise ValueError(f"it has no {layout.DATA}")
    return tensor_bundle.locate(index, files[layout.DATA].bytes, weights), weights

"""What a run consists of: every variable that a step reads, the state of callbacks, and what must not change."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.checkpoint.protocol import ResumableState
from tfcharlm.checkpoint.store import CheckpointError

# Attributes in which Keras's own callbacks keep what they have seen. Keras resets them at the start of every `fit`.
KERAS_CALLBACKS = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_weights", "best_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "cooldown_counter", "best"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def variables_of(run_state: ResumableState) -> dict[str, list]:
    """The groups of variables of a run; a variable occurs once for every device of this process."""
    groups = run_state.variables
    return {name: [piece for variable in group for piece in _pieces(variable)] for name, group in groups.items()}


def _pieces(variable):
    # Values that differ between replicas can only be read one by one.
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    return tf.distribute.get_strategy().experimental_local_results(variable)


def values_of(run_state: ResumableState) -> dict[str, list[np.ndarray]]:
    """The values of `variables_of`, as NumPy arrays."""
    with run_state.replicas.scope():
        return {name: [piece.numpy() for piece in pieces] for name, pieces in variables_of(run_state).items()}


def assign(
    run_state: ResumableState, values: Mapping[str, Sequence[np.ndarray]], exclude: Collection[str] = ()
) -> None:
    """Assigns to the variables what `values_of` returned, except for the groups in `exclude`."""
    with run_state.replicas.scope():
        for name, pieces in variables_of(run_state).items():
            if name not in exclude:
                if len(pieces) != len(values[name]):
                    raise CheckpointError(
                        f"the run must have {len(values[name])} {name}, as in its checkpoint; received {len(pieces)}."
                    )
                for piece, value in zip(pieces, values[name], strict=True):
                    piece.assign(value)


def callback_states(callbacks: Sequence[keras.callbacks.Callback]) -> list[dict[str, Any]]:
    """What callbacks have seen: Keras's own by attributes, others by `get_state()`. The rest is not saved."""
    return [
        {
            "attributes": _attributes(callback) if _kind(callback) else {},
            "state": callback.get_state() if hasattr(callback, "get_state") else None,
        }
        for callback in _with_states(callbacks)
    ]


def restore_callbacks(callbacks: Sequence[keras.callbacks.Callback], states: Sequence[Mapping[str, Any]]) -> None:
    """Gives callbacks back what `callback_states` returned for them."""
    for callback, state in zip(_with_states(callbacks), states, strict=True):
        for name, value in state["attributes"].items():
            setattr(callback, name, value)
        if hasattr(callback, "set_state"):
            callback.set_state(state["state"])


def callback_names(callbacks: Sequence[keras.callbacks.Callback]) -> list[str]:
    """The class names of the callbacks that have a state, in their order."""
    return [type(callback).__name__ for callback in _with_states(callbacks)]


def _with_states(callbacks):
    return [callback for callback in callbacks if _kind(callback) or hasattr(callback, "get_state")]


def _kind(callback):
    return next((kind for kind in KERAS_CALLBACKS if isinstance(callback, kind)), None)


def _attributes(callback):
    values = {name: getattr(callback, name) for name in KERAS_CALLBACKS[_kind(callback)]}
    # An infinite best value means that there is none yet; the callback starts with it.
    return {name: value for name, value in values.items() if not isinstance(value, float) or np.isfinite(value)}


def run_fingerprint(
    run_state: ResumableState, data: tf.data.Dataset, settings: Mapping[str, object] | None
) -> dict[str, Any]:
    """What must be the same when a run resumes, as a tree; `check_same` compares two of them.

    Args:
        run_state: of the model.
        data: the training data. It is compared if it is a data set of this package.
        settings: whatever else the user wants to be compared, or None.

    Returns:
        A tree of plain data.
    """
    source = getattr(data, "source", None)
    with run_state.replicas.scope():
        shapes = {
            name: [[*map(str, piece.shape), piece.dtype.name] for piece in pieces]
            for name, pieces in variables_of(run_state).items()
            if name in ("weights", "optimizer")
        }
    return {
        "settings": dict(settings or {}),
        **_without_names(run_state.description()),
        "data": None if source is None else source.description(),
        "variables": shapes,
    }


def _without_names(tree):
    """A configuration without what differs between processes: names that Keras numbers, rates that a schedule moves."""
    if isinstance(tree, dict):
        kept = {name: value for name, value in tree.items() if name != "name" and not _is_rate(name, value)}
        return {name: _without_names(value) for name, value in kept.items()}
    return [_without_names(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _is_rate(name, value):
    return name == "learning_rate" and isinstance(value, float)


def check_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compares the fingerprints of a saved run and of the run that is to resume it.

    Args:
        before: a tree as `run_fingerprint` makes it, read from a checkpoint. Its settings are removed from it.
        now: such a tree of this process.

    Raises:
        CheckpointError: they differ; the message names up to three differences.

    Example:

    >>> from tfcharlm.checkpoint import CheckpointError, check_same
    >>> check_same({"settings": {"units": 8}}, {"settings": {"units": 8}})
    >>> try:
    ...     check_same({"settings": {"units": 8}}, {"settings": {"units": 9}})
    ... except CheckpointError as error:
    ...     print(str(error).split(". ")[0])
    the saved run is another one: units was 8 and is 9
    """
    now = json.loads(json.dumps(now))
    # An architecture that differs because a setting does is one difference.
    settings = _differences(before.pop("settings"), now.pop("settings"), "")
    differences = list(settings) or list(_differences(before, now, ""))
    if differences:
        raise CheckpointError(
            f"the saved run is another one: {'; '.join(differences[:3])}. "
            "Resume it with what it was started with, or start a new run in another directory."
        )


def _differences(before: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif before != now:
        yield f"{path:.80} was {_short(before)} and is {_short(now)}"


def _short(value):
    try:
        text = repr(value)
    except RecursionError:  # read from a damaged file
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."

"""What a run consists of: every variable that a step reads, the state of callbacks, and what must not change."""

import json

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.checkpoint.store import CheckpointError

# Attributes in which Keras's own callbacks keep what they have seen; they begin anew with every `fit`.
KERAS_CALLBACKS = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_weights", "best_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "cooldown_counter", "best"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def variables_of(run_state):
    """The groups of variables of a run, each variable on every device of this process."""
    groups = run_state.variables
    return {name: [piece for variable in group for piece in _pieces(variable)] for name, group in groups.items()}


def _pieces(variable):
    # What differs from replica to replica can only be had one by one.
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    return tf.distribute.get_strategy().experimental_local_results(variable)


def values_of(run_state):
    """The values of `variables_of`, as NumPy arrays."""
    with run_state.replicas.scope():
        return {name: [piece.numpy() for piece in pieces] for name, pieces in variables_of(run_state).items()}


def assign(run_state, values, exclude=()):
    """Gives the variables the values that `values_of` returned, except those of the groups in `exclude`."""
    with run_state.replicas.scope():
        for name, pieces in variables_of(run_state).items():
            if name not in exclude:
                if len(pieces) != len(values[name]):
                    raise CheckpointError(f"the run had {len(values[name])} {name} and has {len(pieces)}.")
                for piece, value in zip(pieces, values[name], strict=True):
                    piece.assign(value)


def callback_states(callbacks):
    """What callbacks have seen: of ours by `get_state()`, of Keras's by their attributes; others are left alone."""
    return [
        {
            "attributes": _attributes(callback) if _kind(callback) else {},
            "state": callback.get_state() if hasattr(callback, "get_state") else None,
        }
        for callback in _with_states(callbacks)
    ]


def restore_callbacks(callbacks, states):
    """Gives callbacks back what `callback_states` had of them."""
    for callback, state in zip(_with_states(callbacks), states, strict=True):
        for name, value in state["attributes"].items():
            setattr(callback, name, value)
        if hasattr(callback, "set_state"):
            callback.set_state(state["state"])


def callback_names(callbacks):
    """The callbacks that have a state, in their order."""
    return [type(callback).__name__ for callback in _with_states(callbacks)]


def _with_states(callbacks):
    return [callback for callback in callbacks if _kind(callback) or hasattr(callback, "get_state")]


def _kind(callback):
    return next((kind for kind in KERAS_CALLBACKS if isinstance(callback, kind)), None)


def _attributes(callback):
    values = {name: getattr(callback, name) for name in KERAS_CALLBACKS[_kind(callback)]}
    # A best value of infinity, before there is one, is what the callback begins with.
    return {name: value for name, value in values.items() if not isinstance(value, float) or np.isfinite(value)}


def run_fingerprint(run_state, data, settings):
    """What must be the same when a run continues, as a tree of which two can be compared."""
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
    """A configuration without what differs between processes: names that Keras counts, a rate that a schedule moves."""
    if isinstance(tree, dict):
        kept = {name: value for name, value in tree.items() if name != "name" and not _is_rate(name, value)}
        return {name: _without_names(value) for name, value in kept.items()}
    return [_without_names(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _is_rate(name, value):
    return name == "learning_rate" and isinstance(value, float)


def check_same(before, now):
    """Raises if two trees of `run_fingerprint` differ, and names what does."""
    now = json.loads(json.dumps(now))
    # An architecture that differs because a setting does is one difference.
    settings = _differences(before.pop("settings"), now.pop("settings"), "")
    differences = list(settings) or list(_differences(before, now, ""))
    if differences:
        raise CheckpointError(
            f"the run that is there is another one: {'; '.join(differences[:3])}. "
            "Go on with what it was begun with, or begin another run in another directory."
        )


def _differences(before, now, path):
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            yield from _differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
    elif before != now:
        yield f"{path} was {_short(before)} and is {_short(now)}"


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Checks of serialization: a cell that is rebuilt from its configuration is the same cell.

The docstring of a check is the line that the report shows.
"""

import inspect
import json

import keras
import tensorflow as tf

from tfcharlm.testing.cell_under_test import (
    CellUnderTest,
    family,
    left_alone,
    rebuild,
    unregistered,
    unregistered_scope,
)
from tfcharlm.testing.comparison import TOLERANCE, compare, values_of
from tfcharlm.testing.report import MismatchError


def config(subject: CellUnderTest) -> None:
    """get_config holds every argument, as JSON, and from_config reads it"""
    cell = subject.cell
    for one in family(cell):
        _check_keys(one)
    written = _as_json(cell)
    again = rebuild(cell)
    for name in _arguments(type(cell)):
        before, after = (getattr(one, name, None) for one in (cell, again))
        if isinstance(before, bool | int | float | str) and before != after:
            raise MismatchError(
                f"{name} = {after!r} in the rebuilt cell",
                f"{before!r}, as in your cell",
                f"the value of {name!r} in get_config, and what __init__ does with it",
            )
    if again.dtype_policy.name != cell.dtype_policy.name:
        hint = "super().get_config(), which holds the dtype, and **kwargs of __init__"
        raise MismatchError(f"a rebuilt cell with the policy {again.dtype_policy.name}", cell.dtype_policy.name, hint)
    if _as_json(again) != written:
        raise MismatchError(
            f"another configuration after a round trip: {_difference(written, _as_json(again))}",
            "the same",
            "get_config, which must hold the arguments of __init__",
        )


def _check_keys(cell):
    # A cell with a from_config of its own may name its keys differently. The checks of its results will tell.
    if type(cell).from_config.__func__ is not keras.layers.Layer.from_config.__func__:
        return
    keys = cell.get_config()
    missing = [name for name in _arguments(type(cell)) if name not in keys]
    if missing:
        raise MismatchError(
            f"a configuration of {type(cell).__name__} without {', '.join(map(repr, missing))}",
            "a key for every argument of __init__",
            f"get_config: config.update({', '.join(f'{name}=...' for name in missing)})",
        )


def _arguments(cls):
    """The names of the arguments of __init__, including those that it passes to its base classes with **kwargs."""
    names = []
    for ancestor in cls.__mro__:
        if ancestor is keras.layers.Layer:
            break
        if "__init__" not in vars(ancestor):
            continue
        parameters = list(inspect.signature(ancestor.__init__).parameters.values())[1:]
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(names))


def _as_json(cell):
    written = cell.get_config()
    for key, value in written.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise MismatchError(
                f"{key!r} in get_config is {value!r}: {error}",
                "numbers, strings, lists and dictionaries",
                f"get_config; use keras.saving.serialize_keras_object({key}), keras.initializers.serialize, ...",
            ) from error
    return json.dumps(written, sort_keys=True)


def _difference(before, after):
    before, after = json.loads(before), json.loads(after)
    keys = [key for key in before | after if before.get(key) != after.get(key)]
    return "; ".join(f"{key} was {before.get(key)!r}, is {after.get(key)!r}" for key in keys)


def copy(subject: CellUnderTest) -> None:
    """from_config(get_config()) makes a cell that can be built, also with another dtype"""
    for dtype in ("float32", "float64"):
        twin = subject.copy(dtype)
        if twin.dtype_policy.name != dtype:
            raise MismatchError(
                f"a cell with the policy {twin.dtype_policy.name}",
                dtype,
                "**kwargs of __init__, which must reach keras.layers.Layer.__init__",
            )


def rebuilt(subject: CellUnderTest) -> str | None:
    """with the same weights, the rebuilt cell gives the results of your cell"""
    cell = subject.cell
    if not cell.built:
        return "your cell is not built, so only its arguments were compared; build it to compare results, too"
    twin = rebuild(cell)
    subject.build(twin)
    received, expected = [[*one.weights] for one in (twin, cell)]
    if [w.shape for w in received] != [w.shape for w in expected]:
        raise MismatchError(
            f"weights of shapes {[tuple(w.shape) for w in received]} in the rebuilt cell",
            f"{[tuple(w.shape) for w in expected]}, as in your cell",
            "a key that is missing or wrong in get_config",
        )
    twin.set_weights(cell.get_weights())
    dtype = cell.compute_dtype
    inputs = subject.inputs(dtype="float32")
    with left_alone(cell):
        ours, theirs = (_read_without_trace(one, tf.cast(inputs, dtype)) for one in (twin, cell))
    hint = "a key that is missing or wrong in get_config; a random number that is not stored as a weight"
    compare(ours, theirs, TOLERANCE.get(dtype, 1e-2), hint, "in the rebuilt cell, ")
    return None


def _read_without_trace(cell, inputs):
    """The outputs and states of the cell over a sequence; no variable is changed."""
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True, dtype=cell.dtype_policy)
    layer.build(inputs.shape)
    variables = ([v.value for v in of] for of in (layer.trainable_variables, layer.non_trainable_variables))
    (outputs, *states), _ = layer.stateless_call(*variables, inputs)
    return values_of(outputs, states)


def saving(subject: CellUnderTest) -> str | None:
    """keras.saving restores the cell"""
    cell, unregistered_names = subject.cell, [one.__name__ for one in unregistered(subject.cell)]
    with unregistered_scope(cell):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    if type(again) is not type(cell):
        raise MismatchError(
            f"a {type(again).__module__}.{type(again).__name__}",
            f"a {type(cell).__module__}.{type(cell).__name__}",
            "the name under which the class is registered, which another class may have, too",
        )
    if _as_json(again) != _as_json(cell):
        raise MismatchError(
            f"another configuration: {_difference(_as_json(cell), _as_json(again))}",
            "the same",
            "get_config, from_config",
        )
    if unregistered_names:
        are = "is" if len(unregistered_names) == 1 else "are"
        return (
            f"this needs custom_objects, because {' and '.join(unregistered_names)} {are} not registered; "
            'put @keras.saving.register_keras_serializable(package="...") above the class'
        )
    return None

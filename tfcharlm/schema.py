"""What a model's configuration may say: every key, type and range, and the classes that may be built from it.

A configuration is data of a stranger. Nothing of it reaches `keras.saving.deserialize_keras_object`, which finds
classes by module path and calls registered ones: a class is taken from the tables below or not at all.
A parser is a function `(value, where)`: it returns what the value stands for, or raises a ValueError naming `where`.
"""

import keras

from tfcharlm.layers import RNN, LSTMCell, RNNCell
from tfcharlm.text.vocabulary import Vocabulary

MAX_SIZE, MAX_BYTES = 2**16, 2**24


def parse(config):
    """The parts of a configuration: `{"vocabulary_fingerprint": str, "model": {"vocabulary": Vocabulary, ...}, ...}`.

    Args:
        config: what the JSON of `assets.extra/config.json` says.

    Returns:
        The same, with cells, the vocabulary and the dtype policy as objects. None of them has a weight yet.

    Raises:
        ValueError: naming the first value that is not as `CharLM.export` writes it.
    """
    return CONFIG(config, "config")


def refuse(where, expected, value):
    raise ValueError(f"{where} must be {expected}; received {value!r:.80}")


def whole(low, high):
    def parser(value, where):
        # `isinstance` would take True for 1.
        if type(value) is not int or not low <= value <= high:
            refuse(where, f"a whole number from {low} to {high}", value)
        return value

    return parser


def number(low=-1e30, high=1e30):
    def parser(value, where):
        # NaN is refused here, too: it is not within any bounds.
        if type(value) not in (int, float) or not low <= value <= high:
            refuse(where, f"a number from {low:g} to {high:g}", value)
        return value

    return parser


def share(value, where):
    if type(value) not in (int, float) or not 0 <= value < 1:
        refuse(where, "at least 0 and below 1", value)
    return value


def one_of(*values):
    def parser(value, where):
        if type(value) not in map(type, values) or value not in values:
            refuse(where, "one of " + ", ".join(map(str, values)), value)
        return value

    return parser


def text(value, where):
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SIZE or not value.isprintable() or "/" in value:
        refuse(where, "a name without a slash", value)
    return value


def optional(parser):
    return lambda value, where: None if value is None else parser(value, where)


def list_of(parser, most):
    def parse_all(value, where):
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            refuse(where, f"a list of 1 to {most:,}", value)
        return [parser(element, f"{where}[{i}]") for i, element in enumerate(value)]

    return parse_all


def fields(parsers, required=None):
    """A dict with these keys and no other; all are required if nothing else is said."""

    def parser(value, where):
        if not isinstance(value, dict):
            refuse(where, "an object", value)
        unknown = sorted(value.keys() - parsers.keys())
        missing = sorted(set(parsers if required is None else required) - value.keys())
        if unknown or missing:
            what = f"the unknown key {unknown[0]!r:.60}" if unknown else f"no key {missing[0]!r}"
            raise ValueError(f"{where} has {what}")
        return {key: parsers[key](element, f"{where}.{key}") for key, element in value.items()}

    return parser


def built(table):
    """What Keras serialised of an instance of a class of the table: `{(module, name): (class, its arguments)}`."""

    def parser(value, where):
        # A cell carries the shape that it was built for; the model builds it anew.
        envelope = fields(ENVELOPE, ("module", "class_name", "config", "registered_name"))(value, where)
        module, name = envelope["module"], envelope["class_name"]
        registered = f"tfcharlm>{name}" if module.startswith("tfcharlm.") else None
        if (module, name) not in table or envelope["registered_name"] != registered:
            known = ", ".join(f"{module}.{name}" for module, name in table)
            refuse(where, f"one of {known}", f"{module}.{name}, registered as {envelope['registered_name']}")
        build, parsers, *required = table[module, name]
        arguments = fields(parsers, required)(envelope["config"], f"{where}.config")
        try:
            return build(**arguments)
        except Exception as error:  # Keras raises what it likes
            raise ValueError(f"{where} cannot be built: {error}") from error

    return parser


def cell(build):
    """A cell that can be built: what only its `build` would refuse is tried on a small twin, whatever its units."""

    def checked(**arguments):
        build(**arguments | {"units": 2}).build((None, 2))
        return build(**arguments)

    return checked


def keras_classes(package, arguments):
    return {(f"keras.{package.__name__.rpartition('.')[2]}", name): (getattr(package, name), parsers)
            for name, parsers in arguments.items()}  # fmt: skip


def axes(value, where):
    axis = whole(-4, 4)
    return list_of(axis, 4)(value, where) if isinstance(value, list) else axis(value, where)


def anything(value, where):
    return value


def vocabulary(value, where):
    parts = fields({"level": text, "tokens": list_of(anything, 2**20)})(value, where)
    return Vocabulary(**parts)


def model(value, where):
    parts = fields(MODEL, MODEL.keys() - LATER)(value, where)
    computes = parts["dtype"].compute_dtype
    for i, part in enumerate(parts["cells"]):
        if part.compute_dtype != computes:
            refuse(f"{where}.cells[{i}]", f"a cell that computes in {computes}, as its model", part.compute_dtype)
        if parts.get("weight_drop") and (reason := RNN(part).loop_reason):
            refuse(f"{where}.weight_drop", f"0, because {reason}", parts["weight_drop"])
    return parts


ENVELOPE = {"module": text, "class_name": text, "registered_name": optional(text), "config": anything,
            "build_config": anything}  # fmt: skip
BOOLEAN, NUMBER, FRACTION, NOT_NEGATIVE = one_of(True, False), number(), number(0.0, 1.0), number(0.0)
SEED = optional(whole(-(2**63), 2**63 - 1))
AXES = optional(axes)
POLICIES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
DTYPE = built({("keras", "DTypePolicy"): (keras.DTypePolicy, {"name": one_of(*POLICIES)}, "name")})

RANDOM = {"seed": SEED}
NORMAL = RANDOM | {"mean": NUMBER, "stddev": NOT_NEGATIVE}
SCALED = RANDOM | {"input_axes": AXES, "output_axes": AXES}
VARIANCE = SCALED | {
    "scale": NOT_NEGATIVE,
    "mode": one_of("fan_in", "fan_out", "fan_avg"),
    "distribution": one_of("truncated_normal", "untruncated_normal", "uniform"),
}
INITIALIZERS = keras_classes(keras.initializers, {
    "Zeros": {}, "Ones": {}, "Constant": {"value": NUMBER}, "Identity": {"gain": NUMBER},
    "Orthogonal": RANDOM | {"gain": NUMBER}, "RandomUniform": RANDOM | {"minval": NUMBER, "maxval": NUMBER},
    "RandomNormal": NORMAL, "TruncatedNormal": NORMAL, "VarianceScaling": VARIANCE,
    "GlorotNormal": SCALED, "GlorotUniform": SCALED, "HeNormal": SCALED, "HeUniform": SCALED,
    "LecunNormal": SCALED, "LecunUniform": SCALED,
})  # fmt: skip
INITIALIZER = built(INITIALIZERS)
REGULARIZER = optional(built(keras_classes(keras.regularizers, {
    "L1": {"l1": NOT_NEGATIVE}, "L2": {"l2": NOT_NEGATIVE}, "L1L2": {"l1": NOT_NEGATIVE, "l2": NOT_NEGATIVE},
    "OrthogonalRegularizer": {"factor": NOT_NEGATIVE, "mode": one_of("rows", "columns")},
})))  # fmt: skip
CONSTRAINT = optional(built(keras_classes(keras.constraints, {
    "NonNeg": {}, "UnitNorm": {"axis": AXES}, "MaxNorm": {"max_value": NUMBER, "axis": AXES},
    "MinMaxNorm": {"min_value": NUMBER, "max_value": NUMBER, "rate": FRACTION, "axis": AXES},
})))  # fmt: skip
ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh",
    "tanh_shrink",
)  # fmt: skip
ACTIVATION = one_of(*ACTIVATIONS)

BASE = {"name": text, "trainable": BOOLEAN, "dtype": DTYPE}
CELL = BASE | {
    "units": whole(1, MAX_SIZE), "activation": ACTIVATION, "use_bias": BOOLEAN, "activity_regularizer": REGULARIZER,
    "kernel_initializer": INITIALIZER, "recurrent_initializer": INITIALIZER, "bias_initializer": INITIALIZER,
    "kernel_regularizer": REGULARIZER, "recurrent_regularizer": REGULARIZER, "bias_regularizer": REGULARIZER,
    "kernel_constraint": CONSTRAINT, "recurrent_constraint": CONSTRAINT, "bias_constraint": CONSTRAINT,
}  # fmt: skip
GATES = {"recurrent_activation": ACTIVATION}
FORGET, CAP = {"unit_forget_bias": BOOLEAN}, {"cap_input_gate": BOOLEAN}
DROPOUT = {"dropout": FRACTION, "recurrent_dropout": FRACTION, "seed": SEED}
CELLS = {
    ("tfcharlm.layers.cells", "RNNCell"): (cell(RNNCell), CELL, "units"),
    ("tfcharlm.layers.cells", "LSTMCell"): (cell(LSTMCell), CELL | GATES | FORGET | CAP, "units"),
    ("keras.layers", "SimpleRNNCell"): (cell(keras.layers.SimpleRNNCell), CELL | DROPOUT, "units"),
    ("keras.layers", "LSTMCell"): (cell(keras.layers.LSTMCell), CELL | GATES | FORGET | DROPOUT, "units"),
    ("keras.layers", "GRUCell"): (
        cell(keras.layers.GRUCell), CELL | GATES | DROPOUT | {"reset_after": BOOLEAN}, "units",
    ),
}  # fmt: skip
STACK = {("keras.layers", "StackedRNNCells"): (
    keras.layers.StackedRNNCells, BASE | {"cells": list_of(built(CELLS), 100)}, "cells",
)}  # fmt: skip
MODEL = BASE | {
    "vocabulary": vocabulary, "embedding_dim": whole(1, MAX_SIZE), "cells": list_of(built(CELLS | STACK), 100),
    "dropout": share, "input_dropout": share, "weight_drop": share, "dropout_seed": whole(0, 2**63 - 1),
    "skip_connections": BOOLEAN,
}  # fmt: skip
# What earlier exports did not know.
LATER = {"dropout", "input_dropout", "weight_drop", "dropout_seed", "skip_connections"}
CONFIG = fields({"format": whole(1, 1), "tfcharlm": text, "vocabulary_fingerprint": text, "model": model})

"""What a model's configuration may contain: every key, type and range, and the classes that may be built from it.

A configuration is data from a stranger. No part of it reaches `keras.saving.deserialize_keras_object`, which finds
classes by module path and calls registered ones. A class is taken from the tables below, or it is a cell that the user
passes or has registered (`custom_cells.py`).
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import keras

from tfcharlm import layers
from tfcharlm.artefact import custom_cells
from tfcharlm.artefact.parsers import (
    Parser,
    anything,
    axes,
    fields,
    list_of,
    listed,
    number,
    one_of,
    optional,
    parse_name,
    refuse,
    shape,
    whole,
)
from tfcharlm.checks import FRACTION, SEED, Bounds
from tfcharlm.text import Vocabulary

MAX_SIZE, MAX_BYTES = 2**16, 2**24
# Real models have one to four cells. Each takes a hundredth of a second to make, and a second to trace.
MAX_CELLS = 32


def parse(config: Any, custom_objects: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Checks a configuration, and builds its parts.

    Args:
        config: the parsed JSON of `assets.extra/config.json`.
        custom_objects: cells of the user by the names of their classes, as in Keras; none by default.

    Returns:
        `{"vocabulary_fingerprint": str, "model": {"vocabulary": Vocabulary, ...}, ...}`: the same, with cells,
        vocabulary and dtype policy as objects. None of them has a weight yet.

    Raises:
        ValueError: a value is not as `CharLM.export` writes it; the message names the first one.
    """

    def or_custom(known):
        return custom_cells.or_custom(instance_of(known), known, CELL, TYPES, MAX_SIZE * 8, custom_objects or {})

    stack = {("keras.layers", "StackedRNNCells"): (
        keras.layers.StackedRNNCells, BASE | {"cells": list_of(or_custom(CELLS), MAX_CELLS)}, "cells",
    )}  # fmt: skip
    in_a_model = or_custom(CELLS | stack)
    parts = MODEL | {"cells": lambda value, where: cells(value, where, in_a_model)}
    return fields(CONFIG | {"model": lambda value, where: model(value, where, parts)})(config, "config")


def instance_of(table: Mapping[tuple[str, str], tuple]) -> Parser:
    """A parser of an object that Keras serialized.

    Args:
        table: `{(module, class name): (function that builds it, parsers of its arguments, *required arguments)}`.
    """

    def parser(value, where):
        # A cell's "build_config" is the shape that it was built for; the model builds it again.
        envelope = fields(ENVELOPE, ("module", "class_name", "config", "registered_name"))(value, where)
        module, name = envelope["module"], envelope["class_name"]
        registered = f"tfcharlm>{name}" if module.startswith("tfcharlm.") else None
        if (module, name) not in table or envelope["registered_name"] != registered:
            received = f"{module}.{name}, registered as {envelope['registered_name']}"
            refuse(where, listed([f"{module.partition('.')[0]}.{name}" for module, name in table]), received)
        build, parsers, *required = table[module, name]
        arguments = fields(parsers, required)(envelope["config"], f"{where}.config")
        try:
            return build(**arguments)
        except Exception as error:  # Keras raises errors of any class
            raise ValueError(f"{where} cannot be built: {error}") from error

    return parser


def cell(build: Callable[..., keras.layers.Layer]) -> Callable[..., keras.layers.Layer]:
    """Makes a cell, if it can be built. Arguments that only `build` would refuse are tried on a twin with 2 units."""

    def checked(**arguments):
        build(**arguments | {"units": 2}).build((None, 2))
        return build(**arguments)

    return checked


def keras_classes(package: ModuleType, arguments: Mapping[str, Mapping[str, Parser]]) -> dict[tuple[str, str], tuple]:
    return {(f"keras.{package.__name__.rpartition('.')[2]}", name): (getattr(package, name), parsers)
            for name, parsers in arguments.items()}  # fmt: skip


def cells(value: Any, where: str, parser: Parser) -> list[keras.layers.Layer]:
    # Counted before the first one is made.
    inner = [element["config"].get("cells") for element in value if isinstance(element, dict)
             and isinstance(element.get("config"), dict)] if isinstance(value, list) else []  # fmt: skip
    if sum(len(cells) if isinstance(cells, list) else 1 for cells in inner) > MAX_CELLS:
        refuse(where, f"at most {MAX_CELLS} cells in all", value)
    return list_of(parser, MAX_CELLS)(value, where)


def vocabulary(value: Any, where: str) -> Vocabulary:
    parts = fields({"level": parse_name, "tokens": list_of(anything, 2**20)})(value, where)
    return Vocabulary(**parts)


def model(value: Any, where: str, required: Mapping[str, Parser]) -> dict[str, Any]:
    parts = fields({**required, **OPTIONAL}, required)(value, where)
    computes = parts["dtype"].compute_dtype
    for i, part in enumerate(parts["cells"]):
        if part.compute_dtype != computes:
            refuse(f"{where}.cells[{i}]", f"a cell that computes in {computes}, as its model", part.compute_dtype)
        if parts.get("weight_drop") and (reason := layers.RNN(part).why_not_fused):
            refuse(f"{where}.weight_drop", f"0, because {reason}", parts["weight_drop"])
    return parts


ENVELOPE = {"module": parse_name, "class_name": parse_name, "registered_name": optional(parse_name), "config": anything,
            "build_config": lambda value, where: fields({"input_shape": shape})(value, where)}  # fmt: skip
BOOLEAN, NUMBER = one_of(True, False), number(Bounds(low=-1e30, high=1e30))
UNIT_INTERVAL, NOT_NEGATIVE = number(Bounds(low=0, high=1)), number(Bounds(low=0, high=1e30))
OPTIONAL_SEED = optional(whole(-(2**63), 2**63 - 1))
AXES = optional(axes)
POLICIES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
DTYPE = instance_of({("keras", "DTypePolicy"): (keras.DTypePolicy, {"name": one_of(*POLICIES)}, "name")})

RANDOM = {"seed": OPTIONAL_SEED}
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
INITIALIZER = instance_of(INITIALIZERS)
REGULARIZER = optional(instance_of(keras_classes(keras.regularizers, {
    "L1": {"l1": NOT_NEGATIVE}, "L2": {"l2": NOT_NEGATIVE}, "L1L2": {"l1": NOT_NEGATIVE, "l2": NOT_NEGATIVE},
    "OrthogonalRegularizer": {"factor": NOT_NEGATIVE, "mode": one_of("rows", "columns")},
})))  # fmt: skip
CONSTRAINT = optional(instance_of(keras_classes(keras.constraints, {
    "NonNeg": {}, "UnitNorm": {"axis": AXES}, "MaxNorm": {"max_value": NUMBER, "axis": AXES},
    "MinMaxNorm": {"min_value": NUMBER, "max_value": NUMBER, "rate": UNIT_INTERVAL, "axis": AXES},
})))  # fmt: skip
ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
    "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh",
    "tanh_shrink",
)  # fmt: skip
ACTIVATION = one_of(*ACTIVATIONS)

BASE = {"name": parse_name, "trainable": BOOLEAN, "dtype": DTYPE}
CELL = BASE | {
    "units": whole(1, MAX_SIZE), "activation": ACTIVATION, "use_bias": BOOLEAN, "activity_regularizer": REGULARIZER,
    "kernel_initializer": INITIALIZER, "recurrent_initializer": INITIALIZER, "bias_initializer": INITIALIZER,
    "kernel_regularizer": REGULARIZER, "recurrent_regularizer": REGULARIZER, "bias_regularizer": REGULARIZER,
    "kernel_constraint": CONSTRAINT, "recurrent_constraint": CONSTRAINT, "bias_constraint": CONSTRAINT,
}  # fmt: skip
GATE_ARGUMENTS = {"recurrent_activation": ACTIVATION}
FORGET_BIAS = {"unit_forget_bias": BOOLEAN}
DROPOUT = {"dropout": UNIT_INTERVAL, "recurrent_dropout": UNIT_INTERVAL, "seed": OPTIONAL_SEED}
TYPES = {"activation": ACTIVATION, "boolean": BOOLEAN}
CELLS = {
    **{
        (kind.__module__, kind.__name__): (
            cell(kind), CELL | {name: TYPES[type_] for name, type_ in kind.config_types.items()}, "units",
        )
        for kind in layers.CELLS.values()
    },
    ("keras.layers", "SimpleRNNCell"): (cell(keras.layers.SimpleRNNCell), CELL | DROPOUT, "units"),
    ("keras.layers", "LSTMCell"): (cell(keras.layers.LSTMCell), CELL | GATE_ARGUMENTS | FORGET_BIAS | DROPOUT, "units"),
    ("keras.layers", "GRUCell"): (
        cell(keras.layers.GRUCell), CELL | GATE_ARGUMENTS | DROPOUT | {"reset_after": BOOLEAN}, "units",
    ),
}  # fmt: skip
MODEL = BASE | {"vocabulary": vocabulary, "embedding_dim": whole(1, MAX_SIZE)}
# The options of a model. An export that is older than an option does not have it.
OPTIONAL = {
    "dropout": number(FRACTION), "input_dropout": number(FRACTION), "weight_drop": number(FRACTION),
    "dropout_seed": number(SEED), "skip_connections": BOOLEAN, "members": whole(1, 100),
    "frozen_layers": list_of(one_of("embedding", "head", *(f"recurrent_{i}" for i in range(100))), 102),
}  # fmt: skip
CONFIG = {"format": whole(1, 1), "tfcharlm": parse_name, "vocabulary_fingerprint": parse_name}

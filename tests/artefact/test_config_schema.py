"""Configurations: what a stranger can write is refused, and every configuration of ours comes back as it was."""

import marshal
import pickle

import keras
import pytest
from helpers.auditing import Bomb, assert_hostile_is_refused
from helpers.exported_directories import (
    CELL,
    CONFIG,
    FIELD,
    changed,
    make_model,
    replaced,
    serialized,
    sparse,
    written,
)

import tfcharlm
from tfcharlm.artefact import config_schema, export, layout
from tfcharlm.artefact.strict_json import parse_json

STRANGER = "helpers.auditing"
LAMBDA = {"class_name": "__lambda__", "config": {"value": [marshal.dumps(compile("1", "", "eval")).hex(), None, None]}}


def stack(*cells):
    return serialized("keras.layers", "StackedRNNCells", None, {"cells": list(cells)})


CASES = {
    "a large configuration": (sparse(CONFIG, 2**24 + 1), "config.json has 16,777,217 bytes; at most"),
    "a deep configuration": (written(CONFIG, b"[" * 10**6), "nested too deeply"),
    "a deep object": (written(CONFIG, b'{"model":' * 10**5), "nested too deeply"),
    "empty configuration": (written(CONFIG, b""), "Expecting value"),
    "a pickle for a configuration": (written(CONFIG, pickle.dumps(Bomb())), "cannot be loaded"),
    "UTF-16": (lambda d: (d / CONFIG).write_text((d / CONFIG).read_text(), "utf-16"), "codec can't decode"),
    "a key twice": (replaced('"units": 5', '"units": 5, "units": 5'), "'units' occurs twice"),
    "NaN": (replaced('"units": 5', '"units": NaN'), "NaN is not a number in JSON"),
    "Infinity": (replaced('"units": 5', '"units": -Infinity'), "Infinity is not a number in JSON"),
    "1e999": (replaced('"units": 5', '"units": 1e999'), "not as an export writes it"),
    "an infinite gain": (
        changed(*FIELD, "recurrent_initializer", "config", "gain", to=1e300), "gain must be a number from"),
    "a number of 5,000 digits": (replaced('"units": 5', '"units": ' + "5" * 5000), "cannot be loaded"),
    "a list": (written(CONFIG, b"[]"), "config must be an object"),
    "another format": (changed("format", to=2), "config.format must be"),
    "an unknown key": (changed("code", to="import os"), "config has the unknown key 'code'"),
    "an unknown key of a cell": (changed(*FIELD, "call", to="x"), "config has the unknown key 'call'"),
    "a missing key": (lambda d: changed("model", to=lambda m: m.pop("cells") and m)(d), "has no key 'cells'"),
    "no cells": (changed("model", "cells", to=[]), "cells must be a list of 1 to 32"),
    "33 cells": (changed("model", "cells", to=lambda c: c[:1] * 33), "must be at most 32 cells in all"),
    "10^12 units": (changed(*FIELD, "units", to=10**12), "units must be a whole number from 1 to 65536"),
    "all outputs left out": (changed("model", "dropout", to=1.0), "dropout must be a number from 0 to below 1"),
    "all vectors left out": (
        changed("model", "input_dropout", to=1), "input_dropout must be a number from 0 to below 1"),
    "all weights left out": (changed("model", "weight_drop", to=1.0), "weight_drop must be a number from 0 to below 1"),
    "weights left out where there is no kernel": (
        lambda d: (changed("model", "weight_drop", to=0.5)(d), changed(*FIELD, "activation", to="softmax")(d)),
        "weight_drop must be 0, because"),
    "10^12 dimensions": (changed("model", "embedding_dim", to=10**12), "embedding_dim must be a whole number"),
    "units that are not there": (changed(*FIELD, "units", to=65536), "must be float32 (3, 262144)"),
    "negative units": (changed(*FIELD, "units", to=-5), "units must be"),
    "units true": (changed(*FIELD, "units", to=True), "units must be a whole number from"),
    "units 5.0": (changed(*FIELD, "units", to=5.0), "units must be a whole number from"),
    "units a list": (changed(*FIELD, "units", to=[5]), "units must be"),
    "units an object": (changed(*FIELD, "units", to=serialized("builtins", "int")), "units must be"),
    "a lambda for a cell": (changed(*CELL, to=LAMBDA), "cells[0] has no key 'module'"),
    "a layer Lambda": (changed(*CELL, to=serialized("keras.layers", "Lambda", None, {"function": LAMBDA})),
                       "cells[0] must be one of"),
    "a function of Python": (
        changed(*CELL, to=serialized("os", "function", "system", "system")), "must be a tfcharlm.RecurrentCell that"),
    "a module of Python": (changed(*CELL, "module", to="subprocess"), "must be a tfcharlm.RecurrentCell that"),
    "a module of this package": (changed(*CELL, "module", to="tfcharlm.layers.base"), "must be one of"),
    "a registered cell": (
        changed(*CELL, to=serialized(STRANGER, "RegisteredCell", "stranger>Cell", {"units": 5})), "RecurrentCell that"),
    "a registered name on a known class": (changed(*CELL, "registered_name", to="stranger>Cell"), "must be one of"),
    "no registered name": (changed(*CELL, "registered_name", to=None), "must be one of"),
    "a layer for a cell": (changed(*CELL, to=serialized("keras.layers", "Dense", None, {"units": 5})), "one of"),
    "a stack without a name": (
        changed(*CELL, to=lambda c: serialized("keras.layers", "StackedRNNCells", None, {"cells": [c]}) | {"x": 1}),
        "unknown key 'x'"),
    "a stack in a stack": (changed(*CELL, to=lambda c: stack(stack(c))), "cells[0].config.cells[0] must be one of"),
    "a stack of nothing": (changed(*CELL, to=lambda c: stack()), "cells must be a list of 1 to 32"),
    "a stranger's cell in a stack": (
        changed(*CELL, to=lambda c: stack(c, serialized(STRANGER, "RegisteredCell", "stranger>Cell", {"units": 5}))),
        "cells[1] must be a tfcharlm.RecurrentCell that"),
    "a stack of other weights": (changed(*CELL, to=lambda c: stack(c, c)), "must be float32 (5, 20)"),
    "a class that is a list": (changed(*CELL, "class_name", to=["LSTMCell"]), "class_name must be"),
    "a lambda for an activation": (changed(*FIELD, "activation", to=LAMBDA), "activation must be one of"),
    "a registered activation": (changed(*FIELD, "activation", to="stranger>function"), "activation must be one of"),
    "a function for an activation": (
        changed(*FIELD, "activation", to=serialized("os", "function", "system", "system")), "activation must be"),
    "a tensor for an initializer": (
        changed(*FIELD, "kernel_initializer", to={"class_name": "__tensor__", "config": {"value": 1}}), "no key"),
    "a tensor in an initializer": (
        changed(*FIELD, "kernel_initializer", to=serialized(
            "keras.initializers", "Constant", None, {"value": {"class_name": "__numpy__", "config": {}}})),
        "value must be a number"),
    "a seed that is an object": (
        changed(*FIELD, "kernel_initializer", "config", "seed", to=serialized("keras.random", "SeedGenerator")),
        "seed must be a whole number"),
    "an initializer that cannot make a vector": (
        changed(*FIELD, "bias_initializer", to=serialized("keras.initializers", "Identity")),
        "cells[0] cannot be built"),
    "an initializer with axes that are not there": (
        changed(*FIELD, "kernel_initializer", "config", to={"input_axes": [4], "output_axes": [0]}),
        "cells[0] cannot be built: tuple index"),
    "a cell that computes in another dtype": (
        changed(*FIELD, "dtype", "config", "name", to="mixed_bfloat16"),
        "a cell that computes in float32, as its model; received 'bfloat16'"),
    "a regularizer from elsewhere": (
        changed(*FIELD, "kernel_regularizer", to=serialized("os", "system")), "must be one of"),
    "a constraint from elsewhere": (
        changed(*FIELD, "bias_constraint", to=serialized("keras.layers", "Lambda")), "must be one of"),
    "a policy of another kind": (
        changed("model", "dtype", to=serialized("keras.dtype_policies", "DTypePolicyMap")), "must be one of"),
    "a policy of complex numbers": (changed("model", "dtype", "config", "name", to="complex64"), "must be one of"),
    "another policy": (
        changed("model", "dtype", "config", "name", to="float64"), "must be a cell that computes in float64"),
    "a name that is a path": (changed("model", "name", to="../../x"), "name must be a name"),
    "a name with an escape": (changed("model", "name", to="\x1b[31m\n"), "name must be a name"),
    "a vocabulary with a token twice": (
        changed("model", "vocabulary", "tokens", to=lambda t: [t[0], *t[:-1]]), "tokens must be distinct"),
    "a vocabulary in another order": (
        changed("model", "vocabulary", "tokens", to=lambda t: [t[1], t[0], *t[2:]]), "fingerprint that was exported"),
    "a vocabulary of numbers": (changed("model", "vocabulary", "tokens", to=[1, 2]), "a token must be a str"),
    "a vocabulary of lists": (changed("model", "vocabulary", "tokens", to=[[], []]), "a token must be a str"),
    "another fingerprint": (changed("vocabulary_fingerprint", to="0" * 64), "fingerprint that was exported"),
    "no fingerprint": (changed("vocabulary_fingerprint", to=None), "vocabulary_fingerprint must be"),
}  # fmt: skip


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("case", CASES)
def test_a_hostile_configuration_is_refused(directory, case):
    assert_hostile_is_refused(directory, *CASES[case])


CELLS = [
    tfcharlm.RNNCell,
    tfcharlm.LSTMCell,
    *(getattr(keras.layers, f"{n}Cell") for n in ("SimpleRNN", "LSTM", "GRU")),
]


def random_arguments(cell, rng):
    """Arguments of a cell, each of them away from its default now and then."""

    def some(*values):
        return values[rng.integers(len(values))]

    initializers = [name for _, name in config_schema.INITIALIZERS if name not in ("Identity", "Constant")]
    arguments = {"units": int(rng.integers(1, 9)), "use_bias": some(True, False), "trainable": some(True, False),
                 "activation": some("tanh", "relu", "gelu", None), "name": some(None, "a cell")}  # fmt: skip
    for array in ("kernel", "recurrent", "bias"):
        arguments[f"{array}_regularizer"] = some(None, "l1", keras.regularizers.L1L2(0.1, 0.2))
        arguments[f"{array}_constraint"] = some(None, "non_neg", keras.constraints.MaxNorm(3, axis=0))
        usable = (
            ["Zeros", "Ones", "RandomNormal", keras.initializers.Constant(0.25)] if array == "bias" else initializers
        )
        arguments[f"{array}_initializer"] = some(*usable)
    if cell.__module__.startswith("keras."):
        arguments |= {"dropout": some(0, 0.3), "recurrent_dropout": some(0, 0.2), "seed": some(None, 7)}
    if cell is keras.layers.GRUCell:
        arguments["reset_after"] = some(True, False)
    if cell is tfcharlm.LSTMCell:
        arguments["cap_input_gate"] = some(True, False)
    return arguments


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64"])
def test_every_kind_of_cell_comes_back(rng, dtype):
    """Through the configuration alone, which is quick: the parts, their weights' shapes, and the same configuration."""
    for _ in range(5):
        cells = [cell(dtype=dtype, **random_arguments(cell, rng)) for cell in rng.permutation(CELLS)]
        cells[1:3] = [keras.layers.StackedRNNCells(cells[1:3], dtype=dtype)]
        divisors = [n for n in range(1, len(cells) + 1) if len(cells) % n == 0]
        wiring = {"skip_connections": bool(rng.integers(2)), "members": int(rng.choice(divisors))}
        rates = dict(zip(("dropout", "input_dropout"), rng.uniform(size=2).tolist(), strict=True))
        model = make_model(cells, dtype=dtype, rng=rng, **rates, **wiring)
        written = export._config(model)
        parts = config_schema.parse(parse_json(written))["model"]
        weights = list(layout.weights(**parts))
        assert weights == [(tuple(weight.shape), weight.dtype) for weight in model.weights]
        assert export._why_not_loadable(model, written) is None
        assert tfcharlm.CharLM(**parts).get_config() == model.get_config()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "float64", "float16"])
def test_the_signature_of_a_step_is_known_from_the_configuration(dtype):
    # Keras's stack rounds the float32 states of an RNNCell to the compute dtype.
    inner = tfcharlm.RNNCell if dtype in ("float32", "float64") else keras.layers.SimpleRNNCell
    stacked = keras.layers.StackedRNNCells([inner(2, dtype=dtype), keras.layers.LSTMCell(7, dtype=dtype)], dtype=dtype)
    cells = [tfcharlm.LSTMCell(5, dtype=dtype), keras.layers.GRUCell(3, dtype=dtype), stacked]
    model = make_model(cells, dtype=dtype)
    inputs, outputs = layout.signatures(**config_schema.parse(parse_json(export._config(model)))["model"])["step"]
    step = model.text_graph().step.get_concrete_function()
    assert inputs == {name: spec.dtype.name for name, spec in step.structured_input_signature[1].items()} | {
        spec.name: spec.dtype.name for spec in step.structured_input_signature[0]}  # fmt: skip
    assert outputs == {name: spec.dtype.name for name, spec in step.structured_outputs.items()}

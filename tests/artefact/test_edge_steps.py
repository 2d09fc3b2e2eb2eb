"""LiteRT and ONNX files compute the steps of the model: against NumPy and against `model.step`."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from helpers.edge_formats import (
    EXPORTS,
    LENGTH,
    OURS,
    THEIRS,
    VOCABULARY,
    assert_close,
    draw_inputs,
    formats,
    make_model,
    onnx,
    operations,
    reference_step,
    runtime,
    walk,
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(kind, ending) -> (model, path)`, each made once."""
    directory = tmp_path_factory.mktemp("edge")

    @functools.cache
    def model(kind):
        wiring = {"skip_connections": kind == "skipping", "members": 2 if kind == "ensemble" else 1}
        return make_model((OURS | THEIRS)[kind](), **wiring)

    @functools.cache
    def export(kind, ending):
        return model(kind), EXPORTS[ending](model(kind), directory / f"{kind}.{ending}")

    return export


@formats
@pytest.mark.parametrize("kind", OURS)
def test_steps_are_those_of_the_reference_and_of_the_model(kind, ending, rng, exported):
    model, path = exported(kind, ending)
    tokens, states = draw_inputs(model, rng)
    results = walk(runtime(path), tokens, states)
    assert_close(results, walk(reference_step(model), tokens, states))
    logits, ends = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    assert_close((results[0], [state[:, -1] for state in results[1]]), (logits, ends))


@formats
@pytest.mark.parametrize(
    ("kind", "length"), [("activations", 1), ("keras", LENGTH), ("skipping", LENGTH), ("ensemble", LENGTH)]
)
def test_steps_with_other_activations_and_cells_are_those_of_the_model(kind, length, ending, rng, exported):
    """One step with activations that have no bound: over twenty they grow, and rounding with them."""
    model, path = exported(kind, ending)
    tokens, states = draw_inputs(model, rng, rows=7)
    tokens = tokens[:, :length]
    logits, after = walk(runtime(path), tokens, states)
    expected, ends = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    assert_close((logits, [state[:, -1] for state in after]), (expected, ends))


@formats
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_dtypes_become_float32_with_the_weights_they_have(policy, ending, rng, tmp_path):
    model = make_model(OURS["lstm"](dtype=policy), dtype=policy)
    tokens, states = draw_inputs(model, rng)
    results = walk(runtime(EXPORTS[ending](model, tmp_path / f"model.{ending}")), tokens, states)
    expected = walk(reference_step(model), tokens, states)
    assert_close(results, expected)
    logits, _ = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    assert (np.abs(logits - expected[0]).max() > 1e-3) == ("bfloat16" in policy), "the model itself rounds"


@formats
def test_batches_of_any_size(ending, rng, exported):
    model, path = exported("stack", ending)
    step = runtime(path)
    for rows in (1, 3, 2):
        tokens, states = draw_inputs(model, rng, rows)
        assert_close(walk(step, tokens[:, :2], states), walk(reference_step(model), tokens[:, :2], states))


@pytest.mark.parametrize("kind", [*OURS, *THEIRS])
def test_litert_files_have_built_in_operations_only_and_no_memory(kind, exported):
    found = operations(exported(kind, "tflite")[1].read_bytes())
    assert "GATHER" in found and not [name for name in found if name.startswith("*")]
    assert not found & {"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "WHILE", "IF"}


def test_onnx_files_need_the_standard_domain_of_an_old_operator_set(exported):
    model = onnx.load(exported("stack", "onnx")[1])
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)] and model.ir_version == 8
    assert {node.domain for node in model.graph.node} == {""}
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    assert shapes["logits"] == ["batch", 1, len(VOCABULARY)] and shapes["next_state_4"] == ["batch", 7]

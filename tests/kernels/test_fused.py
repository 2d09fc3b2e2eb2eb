"""Fused kernels against NumPy and against the loop of Keras, on random shapes, masks and states."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import CELLS, NUM_STATES, differentiate
from helpers.fused import INPUT, UNITS, CompiledLoops, check_fused_kernel_loop_and_numpy, make_layer
from helpers.masks import make_mask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tfcharlm
from tfcharlm.kernels import fused_kernel, shards

kinds = pytest.mark.parametrize("kind", CELLS)


@pytest.fixture(scope="module")
def compiled():
    """The fused kernel in two shards, with short turns of its loop: the graphs are smaller, and the turns more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "shard_count", lambda rows: 2)
        patch.setattr(fused_kernel, "STEPS_PER_TURN", 3)
        yield CompiledLoops()


MASKS = ["none", "holes", "padding", "a row of nothing"]


@st.composite
def cases(draw, all_graphs):
    """Without `all_graphs`, the RNN is run forwards and with a mask: every graph takes a second or two to trace."""
    kind = draw(st.sampled_from(list(CELLS)))
    all_graphs |= kind == "lstm"
    mask = draw(st.sampled_from(MASKS if all_graphs else MASKS[1:]))
    backwards = all_graphs and mask != "none" and draw(st.booleans())
    batch, length = draw(st.integers(1, 9)), draw(st.integers(1, 27))
    return kind, batch, length, mask, backwards, draw(st.integers(0, 2**32 - 1))


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases(all_graphs=False))
@example(case=("lstm", 4, 16, "holes", True, 7))
@example(case=("rnn", 1, 1, "a row of nothing", False, 11))
def test_fused_kernel_loop_and_numpy_agree(compiled, case):
    check_fused_kernel_loop_and_numpy(compiled, *case)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases(all_graphs=True))
def test_fused_kernel_loop_and_numpy_agree_in_every_graph(compiled, case):
    check_fused_kernel_loop_and_numpy(compiled, *case)


@pytest.mark.parametrize(
    ("kind", "length", "steps_per_turn", "use_bias", "count"),
    [
        ("lstm", 5, 2, True, 1),
        ("rnn", 2, 2, False, 2),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("rnn", 7, 3, True, 2), ("lstm", 7, 3, False, 2)]),
    ],
)
def test_static_shapes_eager_compiled_and_under_xla_agree(
    rng, monkeypatch, kind, length, steps_per_turn, use_bias, count
):
    """Two turns of the loop and a step after them, or one turn alone; compiled, in so many shards."""
    monkeypatch.setattr(fused_kernel, "STEPS_PER_TURN", steps_per_turn)
    layer, batch = make_layer(kind, use_bias=use_bias), 7
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    x, d_outputs = (tf.constant(rng.normal(size=(batch, length, size))) for size in (INPUT, UNITS))
    states, d_states = (list(tf.constant(rng.normal(size=(NUM_STATES[kind], batch, UNITS)))) for _ in range(2))
    mask = tf.constant(make_mask(rng, "holes", batch, length))
    eager = differentiate(layer, x, states, mask, d_outputs, d_states)
    monkeypatch.setattr(shards, "shard_count", lambda rows: count)

    def again(**arguments):
        return tf.function(differentiate, autograph=False, **arguments)(layer, x, states, mask, d_outputs, d_states)

    @tf.function(autograph=False)
    def inside(training, x, *states):
        return layer(x, initial_state=list(states), mask=mask, training=training)

    def from_outside(training):
        """The tape outside of the compiled function, with and without what it needs being kept."""
        with tf.GradientTape() as tape:
            tape.watch((x, states))
            outputs, *last = inside(training, x, *states)
        sources = [x, *states, *layer.trainable_variables]
        return outputs, last, tape.gradient([outputs, *last], sources, [d_outputs, *d_states])

    for results in (again(), again(jit_compile=True), from_outside(True), from_outside(False)):
        for actual, wanted in zip(tf.nest.flatten(results), tf.nest.flatten(eager), strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-11, atol=1e-11)


@kinds
@pytest.mark.parametrize(("symbols", "folded"), [(4, True), (5, False)])
def test_a_folded_embedding_gives_what_the_rows_give(rng, kind, symbols, folded):
    layer, batch, length = make_layer(kind), 2, 9
    table, ids = (
        tf.Variable(rng.normal(size=(symbols, INPUT))),
        tf.constant(rng.integers(symbols, size=(batch, length))),
    )
    mask = tf.constant(make_mask(rng, "holes", batch, length))
    states, upstream = layer.get_initial_state(batch), rng.normal(size=(batch, length, UNITS))

    def results(read):
        with tf.GradientTape() as tape:
            outputs, last = read()
            total = tf.reduce_sum(outputs * upstream)
        gradients = tape.gradient(total, [table, *layer.trainable_variables])
        assert isinstance(gradients[0], tf.IndexedSlices) is not folded
        return tf.nest.flatten([outputs, last, *map(tf.convert_to_tensor, gradients)])

    actual = results(lambda: layer.run(ids, states, mask, training=True, embeddings=table.value()))
    folded = False
    expected = results(lambda: layer.run(tf.gather(table, ids), states, mask, training=True))
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)
    outside = tf.where(mask, ids, -1)
    np.testing.assert_array_equal(
        layer.run(outside, states, mask, embeddings=table.value())[0],
        layer.run(ids, states, mask, embeddings=table.value())[0],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not in"):
        layer.run(ids + 1, states, mask, embeddings=table.value())


@kinds
def test_gradients_in_unusual_ways(rng, kind):
    """Twice from one tape, and of rows that were gathered: each as of the plain loop."""
    ours, theirs = make_layer(kind), make_layer(kind, keras.layers.RNN)
    theirs.set_weights(ours.get_weights())
    x = tf.constant(rng.normal(size=(2, 6, INPUT)))
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs = layer(x, training=True)[0]
            gathered = tf.gather(outputs, [1, 1])
        weights = layer.trainable_variables
        results.append([tape.gradient(gathered, [x, *weights]), tape.gradient(outputs, x)])
    for actual, wanted in zip(*map(tf.nest.flatten, results), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [1, 3])
def test_a_stack_of_one_cell_and_a_bare_state(rng, count):
    x = tf.constant(rng.normal(size=(2, count, INPUT)), tf.float32)
    mask = tf.constant([[True] * count, [False] * count])
    # Keras's own wrapper fails at a stack of one cell with a mask.
    for cells, masks in (([tfcharlm.LSTMCell(4)], [None]), (tfcharlm.RNNCell(4), [None, mask])):
        ours, theirs = (wrapper(cells, return_state=True) for wrapper in (tfcharlm.RNN, keras.layers.RNN))
        for seen in masks:
            actual, wanted = ours(x, mask=seen), theirs(x, mask=seen)
            tf.nest.assert_same_structure(list(actual), list(wanted))
            for a, w in zip(tf.nest.flatten(actual), tf.nest.flatten(wanted), strict=True):
                np.testing.assert_allclose(a, w, rtol=1e-5, atol=1e-6)


def test_why_the_loop_of_keras_runs():
    lstm, gru = tfcharlm.LSTMCell(4), keras.layers.GRUCell(3)

    class Changed(tfcharlm.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(2 * inputs, states, training=training)

    assert tfcharlm.RNN([lstm, tfcharlm.RNNCell(2, "relu")]).why_not_fused is None
    reason = "GRUCell has no fused kernel, because it is not a tfcharlm.RecurrentCell"
    assert tfcharlm.RNN([lstm, gru]).why_not_fused == reason
    reason = "Changed has no fused kernel, because it has a method call of its own"
    assert tfcharlm.RNN(Changed(4)).why_not_fused == reason


def test_a_subclass_with_another_step_runs_its_step(rng):
    class Doubled(tfcharlm.LSTMCell):
        def step(self, z, states, parameters):
            return super().step([2 * block for block in z], states, parameters)

    layer, plain = (
        tfcharlm.RNN(cell(UNITS, dtype="float64"), dtype="float64") for cell in (Doubled, tfcharlm.LSTMCell)
    )
    for each in (layer, plain):
        each.build((None, None, INPUT))
    plain.set_weights([2 * w for w in layer.get_weights()])
    x = tf.constant(rng.normal(size=(3, 6, INPUT)))
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-12)

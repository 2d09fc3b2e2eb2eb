"""The kernels of whole sequences against NumPy and against the plain loop, on random shapes, masks and states."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tfcharlm
from tfcharlm import reference
from tfcharlm.kernels import chains, map_shards, precision, sequence

INPUT, UNITS = 3, 5
CELLS = {"rnn": tfcharlm.RNNCell, "lstm": tfcharlm.LSTMCell}
WEIGHTS = {"rnn": reference.RNNWeights, "lstm": reference.LSTMWeights}
FORWARD = {"rnn": reference.rnn_forward, "lstm": reference.lstm_forward}
BACKWARD = {"rnn": reference.rnn_backward, "lstm": reference.lstm_backward}
STATES = {"rnn": 1, "lstm": 2}
GATES = {"rnn": 1, "lstm": 4}

kinds = pytest.mark.parametrize("kind", CELLS)


def make_layer(kind, wrapper=tfcharlm.RNN, dtype="float64", use_bias=True, **arguments):
    cell = CELLS[kind](UNITS, use_bias=use_bias, dtype=dtype)
    layer = wrapper(cell, return_sequences=True, return_state=True, dtype=dtype, **arguments)
    layer.build((None, None, INPUT))
    return layer


def differentiate(layer, x, states, mask, d_outputs, d_states, training=True):
    """Outputs, last states, and gradients of x, the states and the weights for given gradients of the results."""
    with tf.GradientTape() as tape:
        tape.watch((x, states))
        outputs, *last = layer(x, initial_state=list(states), mask=mask, training=training)
    sources = [x, *states, *(w.value for w in layer.trainable_variables)]
    return outputs, last, tape.gradient([outputs, *last], sources, [d_outputs, *d_states])


class Compiled:
    """Kernel and plain loop, each traced once for batches and sequences of any size, the kernel in three chains."""

    def __init__(self):
        self.table = {}

    def pairs(self, kind, masked, backwards):
        if (kind, masked, backwards) not in self.table:
            layers = [make_layer(kind, wrapper, go_backwards=backwards) for wrapper in (tfcharlm.RNN, keras.layers.RNN)]
            self.table[kind, masked, backwards] = [(layer, self._trace(layer, kind, masked)) for layer in layers]
        return self.table[kind, masked, backwards]

    def _trace(self, layer, kind, masked):
        rows = [tf.TensorSpec((None, UNITS), tf.float64)] * STATES[kind]
        inputs, outputs = (tf.TensorSpec((None, None, size), tf.float64) for size in (INPUT, UNITS))
        signature = [inputs, rows, tf.TensorSpec((None, None), tf.bool), outputs, rows]

        @tf.function(autograph=False, input_signature=signature)
        def function(x, states, mask, d_outputs, d_states):
            return differentiate(layer, x, states, mask if masked else None, d_outputs, d_states)

        return function


@pytest.fixture(scope="module")
def compiled():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "shard_count", lambda rows: 3)
        patch.setattr(sequence, "STEPS_PER_TURN", 4)  # the graphs are smaller, and the turns more
        yield Compiled()


@st.composite
def cases(draw):
    batch, length = draw(st.integers(1, 9)), draw(st.integers(1, 27))
    mask = draw(st.sampled_from(["none", "holes", "padding", "a row of nothing"]))
    backwards = mask != "none" and draw(st.booleans())  # a graph less to trace
    return draw(st.sampled_from(list(CELLS))), batch, length, mask, backwards, draw(st.integers(0, 2**32 - 1))


def make_mask(rng, name, batch, length):
    if name == "none":
        return None
    if name == "padding":
        return np.arange(length) < rng.integers(0, length + 1, size=(batch, 1))
    mask = rng.random((batch, length)) < 0.6
    if name == "a row of nothing":
        mask[rng.integers(batch)] = False
    return mask


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=cases())
@example(case=("lstm", 4, 16, "holes", True, 7))
@example(case=("rnn", 1, 1, "a row of nothing", False, 11))
def test_kernel_loop_and_numpy_agree(compiled, case):
    kind, batch, length, mask_name, backwards, seed = case
    rng = np.random.default_rng(seed)
    columns = GATES[kind] * UNITS
    arrays = [rng.normal(size=shape) for shape in [(INPUT, columns), (UNITS, columns), (columns,)]]
    x, mask = rng.normal(size=(batch, length, INPUT)), make_mask(rng, mask_name, batch, length)
    states, d_states = (list(rng.normal(size=(STATES[kind], batch, UNITS))) for _ in range(2))
    d_outputs = rng.normal(size=(batch, length, UNITS))

    turn = slice(None, None, -1 if backwards else 1)
    seen = None if mask is None else mask[:, turn]
    outputs, last, cache = FORWARD[kind](WEIGHTS[kind](*arrays), x[:, turn], *states, mask=seen)
    d_weights, d_x, d_initial = BACKWARD[kind](WEIGHTS[kind](*arrays), cache, d_outputs, *d_states)
    as_list = list if kind == "lstm" else lambda single: [single]
    expected = [outputs, *as_list(last), d_x[:, turn], *as_list(d_initial), *d_weights]

    poisoned = x if mask is None else np.where(mask[..., None], x, np.nan)
    seen = np.ones((batch, length), bool) if mask is None else mask
    pairs = compiled.pairs(kind, mask is not None, backwards)
    for (layer, function), inputs in zip(pairs, (poisoned, x), strict=True):
        layer.set_weights(arrays)
        results = function(*keras.tree.map_structure(tf.constant, (inputs, states, seen, d_outputs, d_states)))
        for actual, wanted in zip(tf.nest.flatten(results), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-12 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize(
    ("kind", "length", "use_bias"),
    [
        ("rnn", 3, False),
        ("lstm", 7, True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("rnn", 7, True), ("lstm", 3, False)]),
    ],
)
def test_static_shapes_eager_compiled_and_under_xla_agree(rng, monkeypatch, kind, length, use_bias):
    monkeypatch.setattr(sequence, "STEPS_PER_TURN", 3)
    layer, batch = make_layer(kind, use_bias=use_bias), 7
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    x, d_outputs = (tf.constant(rng.normal(size=(batch, length, size))) for size in (INPUT, UNITS))
    states, d_states = (list(tf.constant(rng.normal(size=(STATES[kind], batch, UNITS)))) for _ in range(2))
    mask = tf.constant(make_mask(rng, "holes", batch, length))
    eager = differentiate(layer, x, states, mask, d_outputs, d_states)
    monkeypatch.setattr(chains, "shard_count", lambda rows: 2)

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


@kinds
@pytest.mark.parametrize("native", [False, True])
def test_gradients_in_bfloat16_are_close(rng, monkeypatch, kind, native):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    full, half = (make_layer(kind, dtype=dtype) for dtype in ("float32", "mixed_bfloat16"))
    half.set_weights(full.get_weights())
    x = rng.normal(size=(4, 9, INPUT))
    results = []
    for layer, dtype in ((full, tf.float32), (half, tf.bfloat16)):
        inputs = tf.constant(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(tf.cast(layer(inputs, training=True)[0], tf.float32) ** 2)
        results.append(tape.gradient(total, [inputs, *layer.trainable_variables]))
    for exact, rough in zip(*results, strict=True):
        difference = np.linalg.norm(tf.cast(rough, tf.float32) - exact) / np.linalg.norm(exact)
        assert 1e-5 < difference < 0.03


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


def test_why_the_plain_loop_runs():
    lstm, gru = tfcharlm.LSTMCell(4), keras.layers.GRUCell(3)

    class Changed(tfcharlm.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(2 * inputs, states, training=training)

    relu, hard = tfcharlm.RNNCell(4, "relu", name="a"), tfcharlm.LSTMCell(4, "tanh", "hard_sigmoid", name="b")
    assert tfcharlm.RNN([lstm, tfcharlm.RNNCell(2)]).fallback_reason is None
    assert tfcharlm.RNN([lstm, gru]).fallback_reason == "GRUCell has no kernel"
    assert tfcharlm.RNN(Changed(4)).fallback_reason == "Changed has no kernel"
    assert tfcharlm.RNN(relu).fallback_reason == "activation of a is not tanh"
    assert tfcharlm.RNN(hard).fallback_reason == "recurrent_activation of b is not sigmoid"


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_rounds_operands_and_nothing_else(rng, monkeypatch, native):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    products = precision.MatMul(tf.bfloat16)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in [(5, 70), (70, 3)])
    rounded = [tf.cast(tf.cast(array, tf.bfloat16), tf.float64) for array in (a, b)]
    actual = products(products.operand(tf.constant(a)), products.operand(tf.constant(b)))
    assert actual.dtype == tf.float32
    assert not np.allclose(actual, a @ b, rtol=0, atol=1e-3), "not rounded"
    # A processor that has bfloat16 rounds the result as well.
    np.testing.assert_allclose(
        actual, tf.matmul(*rounded), rtol=1e-2 if native else 1e-5, atol=0.05 if native else 1e-5
    )


@pytest.mark.parametrize("native", [False, True])
def test_cell_state_is_float32_under_bfloat16(monkeypatch, native):
    """Additions of 2^-10 to a cell state of 1: bfloat16 would lose every one of them."""
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    layer = tfcharlm.RNN(tfcharlm.LSTMCell(1, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    big = 40.0  # open gates: input, forget, output; the candidate is tanh(x W) with x W = 2^-10
    layer.set_weights([np.array([[0, 0, 2**-10, 0]]), np.zeros((1, 4)), np.array([big, big, 0, big])])
    states = [tf.zeros((1, 1)), tf.ones((1, 1))]
    _, (h, c) = layer.run(tf.ones((1, 512, 1)), states)
    assert c.dtype == tf.float32 and c.numpy()[0, 0] == pytest.approx(1.5, rel=1e-6)
    assert h.numpy()[0, 0] == pytest.approx(np.tanh(1.5), rel=1e-6)


@kinds
@pytest.mark.parametrize("native", [False, True])
def test_step_by_step_is_the_sequence_also_in_bfloat16(rng, monkeypatch, kind, native):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    layer = tfcharlm.RNN(CELLS[kind](UNITS, dtype="mixed_bfloat16"), dtype="mixed_bfloat16", return_sequences=True)
    layer.build((None, None, INPUT))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    x, states = tf.constant(rng.normal(size=(2, 11, INPUT)), tf.bfloat16), layer.get_initial_state(2)
    outputs, last = layer.run(x, states)
    for t in range(11):
        output, states = layer.run(x[:, t : t + 1], states)
        # A processor that has bfloat16 rounds each product, here one of two halves and there of the whole.
        np.testing.assert_allclose(
            tf.cast(output[:, 0], tf.float32), tf.cast(outputs[:, t], tf.float32), atol=0.1 if native else 2**-7
        )
    for state, wanted in zip(states, last, strict=True):
        assert state.dtype == tf.float32
        np.testing.assert_allclose(state, wanted, rtol=0, atol=0.1 if native else 1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("known", [True, False])
def test_chains_keep_rows_in_their_places(rng, monkeypatch, count, known):
    monkeypatch.setattr(chains, "shard_count", lambda rows: count)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(4,))
    shapes = [tf.TensorSpec((4 if known else None, *array.shape[1:]), tf.float64) for array in (a, b)]

    @tf.function(autograph=False, input_signature=shapes)
    def both(a, b):
        return map_shards(lambda a, nothing, b: {"sum": a + b[0][:, None], "none": b[0]}, a, None, (b,))

    result = both(a, b)
    np.testing.assert_array_equal(result["sum"], a + b[:, None])
    np.testing.assert_array_equal(result["none"], b)


THREADS = """
import tensorflow as tf, tfcharlm
tfcharlm.configure_threads(3)
counts = []
@tf.function
def f(x):
    from tfcharlm.kernels.shards import shard_count
    counts.extend(shard_count(rows) for rows in (1, 7, 8, 64, None))
    return x + 1
f(1)
print(counts, tf.config.threading.get_intra_op_parallelism_threads())
try:
    tfcharlm.configure_threads(5)
except RuntimeError as error:
    print(error)
"""


def test_threads_are_set_before_the_first_operation_only():
    result = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True)
    counts, message = result.stdout.splitlines()
    assert counts == "[1, 1, 2, 3, 3] 1"
    assert message.startswith("TensorFlow has already started its threads. Type tfcharlm.configure_threads() right")

"""The way through cuDNN, as far as it goes without a GPU: Keras's own layers, called on the arrays of our cells."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import INPUT, UNITS, differentiate
from helpers.masks import make_mask

import tfcharlm
from tfcharlm.layers import cudnn

CELLS = {"lstm": tfcharlm.LSTMCell, "gru": tfcharlm.GRUCell}


@pytest.fixture
def calls(monkeypatch):
    """TFCHARLM_CUDNN=1, and the layers of Keras that were called since."""
    called = []
    for kind in set(cudnn.SAME_LAYERS.values()):

        def stateless_call(self, *arguments, original=kind.stateless_call, **named):
            called.append(type(self))
            return original(self, *arguments, **named)

        monkeypatch.setattr(kind, "stateless_call", stateless_call)
    monkeypatch.setenv(cudnn.SETTING, "1")
    return called


def make_layer(rng, kind, **options):
    layer = tfcharlm.RNN(CELLS[kind](UNITS, **options), return_sequences=True, return_state=True)
    layer.build((None, None, INPUT))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer


MASKS = ["none", "right", "padding", "holes", "a row of nothing"]
QUICK = [("lstm", "right", True), ("gru", "holes", True), ("gru", "none", False)]


@pytest.mark.parametrize(
    ("kind", "mask", "use_bias"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case not in QUICK))
        for case in itertools.product(CELLS, MASKS, [True, False])
    ],
)
def test_results_and_gradients_are_those_of_the_kernels(rng, monkeypatch, calls, kind, mask, use_bias):
    layer, batch, length = make_layer(rng, kind, use_bias=use_bias), 4, 6
    x, d_outputs = (tf.constant(rng.normal(size=(batch, length, n)), tf.float32) for n in (INPUT, UNITS))
    count = len(layer.cell.state_sizes)
    states, d_states = (
        [tf.constant(rng.normal(size=(batch, UNITS)), tf.float32) for _ in range(count)] for _ in range(2)
    )
    if mask == "right":
        seen = tf.constant(np.arange(length) < rng.integers(1, length + 1, size=(batch, 1)))
    else:
        seen = make_mask(rng, mask, batch, length)
        seen = None if seen is None else tf.constant(seen)
    poisoned = x if seen is None else tf.where(seen[..., None], x, np.nan)
    compiled = tf.function(differentiate, autograph=False)
    for run in (differentiate, compiled):
        calls.clear()
        actual = run(layer, poisoned, states, seen, d_outputs, d_states)
        # In a graph the mask is a value, and both branches are there.
        if run is compiled or mask in ("none", "right"):
            assert calls
        with monkeypatch.context() as patch:
            patch.setenv(cudnn.SETTING, "0")
            expected = differentiate(layer, poisoned, states, seen, d_outputs, d_states)
        for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(a, e, rtol=2e-5, atol=2e-5)


def test_when_cudnn_runs(monkeypatch, calls):
    lstm = tfcharlm.RNN(tfcharlm.LSTMCell(5))
    assert lstm.fallback_reason == "native kernels are not used: cuDNN runs" and not lstm.supports_jit
    capped = tfcharlm.LSTMCell(5, cap_input_gate=True)
    for cell in (tfcharlm.RNNCell(5), capped, tfcharlm.GRUCell(5, reset_after=False), tfcharlm.LSTMCell(5, "relu")):
        assert cudnn.why_not_cudnn(cell.recurrence, "float32") == "cuDNN has no layer that computes the same"
    assert "the layer computes in float64" in cudnn.why_not_cudnn(lstm.cell.recurrence, "float64")
    tf.function(lambda x: lstm(x), autograph=False, jit_compile=True)(tf.ones((2, 3, 4)))
    assert not calls, "XLA has no operations of cuDNN"
    tf.function(lambda x: lstm(x), autograph=False)(tf.ones((2, 3, 4)))
    assert calls
    monkeypatch.delenv(cudnn.SETTING)
    if not tf.config.get_visible_devices("GPU"):
        assert cudnn.why_not_cudnn(lstm.cell.recurrence, "float32") == "TensorFlow has no GPU"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("lstm", marks=pytest.mark.slow), "gru"])
def test_a_model_trains_through_it_and_its_export_has_none_of_it(rng, monkeypatch, calls, tmp_path, kind):
    def trained(setting):
        monkeypatch.setenv(cudnn.SETTING, setting)
        keras.utils.set_random_seed(3)
        vocabulary = tfcharlm.text.Vocabulary("abcd\n")
        model = tfcharlm.CharLM(vocabulary, [CELLS[kind](6), CELLS[kind](5)], embedding_dim=3, weight_drop=0.3)
        model.compile(keras.optimizers.Adam(0.01))
        data = tfcharlm.text.stream_dataset(vocabulary.encode("abcd\n" * 40), batch_size=2, sequence_length=9)
        return model, model.fit(data, epochs=2, verbose=0).history["loss"]

    model, losses = trained("1")
    assert calls
    _, expected = trained("0")
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    monkeypatch.setenv(cudnn.SETTING, "1")
    calls.clear()
    directory = model.export(tmp_path / "model" / "1")
    assert not calls and tfcharlm.inspect_model(directory).is_plain_export

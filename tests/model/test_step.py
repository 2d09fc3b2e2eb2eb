"""CharLM reads tokens as the reference does, and refuses what it cannot be made of."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import BATCH, SIZE, TIME, VOCABULARY, compile_model, make_model

import tfcharlm
from tfcharlm import reference
from tfcharlm.text import stream_dataset


def test_step_is_the_step_of_the_reference(rng, pair):
    model, parameters = pair
    tokens, mask = rng.integers(SIZE, size=(BATCH, TIME)), rng.random((BATCH, TIME)) < 0.7
    states = reference.initial_state(parameters, BATCH)
    states = keras.tree.map_structure(lambda s: rng.normal(size=s.shape), states)
    expected, expected_states, _ = reference.step(parameters, tokens, states, mask=mask)
    logits, ends = model.step(tf.constant(tokens), keras.tree.flatten(states), mask=tf.constant(mask))
    np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)
    for end, expected_end in zip(ends, keras.tree.flatten(expected_states), strict=True):
        np.testing.assert_allclose(end, expected_end, rtol=1e-12, atol=1e-12)


def test_two_chunks_are_one_text(rng, pair):
    model, _ = pair
    tokens = tf.constant(rng.integers(SIZE, size=(BATCH, TIME)))
    whole, end = model.step(tokens, model.initial_state(BATCH))
    first, states = model.step(tokens[:, :2], model.initial_state(BATCH))
    second, states = model.step(tokens[:, 2:], states)
    np.testing.assert_allclose(tf.concat([first, second], 1), whole, atol=1e-13)
    np.testing.assert_allclose(states[0], end[0], atol=1e-13)
    np.testing.assert_allclose(model({"tokens": tokens}), whole, atol=1e-13)


def test_mixed_bfloat16_keeps_loss_and_logits_in_float32(rng, small_graphs):
    model = make_model("mixed_bfloat16")
    tokens = rng.integers(SIZE, size=(BATCH, TIME))
    assert model(tokens).dtype == tf.float32
    np.testing.assert_array_equal(model(tokens), model.step(tf.constant(tokens), model.initial_state(BATCH))[0])
    exact = make_model("float32")
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(model(tokens), exact(tokens), atol=0.02)
    compile_model(model, keras.optimizers.Adam(0.01))
    ids = np.tile(np.arange(SIZE), 40)
    history = model.fit(stream_dataset(ids, 4, 8), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_weight_drop_needs_fused_kernels():
    with pytest.raises(ValueError, match=r"weight_drop.* GRUCell has no fused kernel"):
        tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(3), keras.layers.GRUCell(4)], weight_drop=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tfcharlm.CharLM("abc", [tfcharlm.RNNCell(3)]), r"vocabulary must be .*Vocabulary.from_text\(text\)"),
        (lambda: tfcharlm.CharLM(VOCABULARY, tfcharlm.RNNCell(3)), r"cells must be a list of RNN cells, such as"),
        (lambda: tfcharlm.CharLM(VOCABULARY, [keras.layers.LSTM(3)]), r"cells must be a list of RNN cells, such as"),
        (
            lambda: tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(3)], dtype="mixed_bfloat16"),
            r"bfloat16; received a RNNCell that computes in float32. Type RNNCell\(..., dtype='mixed_bfloat16'\)",
        ),
        (lambda: tfcharlm.CharLM(VOCABULARY, []), r"cells must be a list of RNN cells, such as"),
        (lambda: make_model().compile(loss="mse"), r"CharLM has its own, .*Type model.compile"),
    ],
)
def test_errors_name_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_16_bits_are_not_trained(dtype):
    """Adam would change none in bfloat16, where 0.999 is 1, and divide by squares that are 0 in float16."""
    cell = tfcharlm.RNNCell(2, dtype=dtype)
    expected = rf"^dtype must be .* received {dtype}\. Type dtype='mixed_{dtype}'"
    for policy in (dtype, f"mixed_{dtype}"):
        model = tfcharlm.CharLM(VOCABULARY, [cell], dtype=policy)
        with pytest.raises(ValueError, match=expected) as error:
            model.compile()
        assert len(str(error.value)) <= 300 and "\n" not in str(error.value)
    # They are good enough for texts.
    exact = tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(2)])
    exact.set_weights([np.asarray(tf.cast(weight, "float32")) for weight in model.weights])
    np.testing.assert_allclose(model.score("ab")["log_probability"], exact.score("ab")["log_probability"], rtol=0.05)


@pytest.mark.parametrize("dimension", [0, -1, 2.0, True, None, "8", np.array([8])], ids=repr)
def test_an_embedding_without_dimensions_is_refused(dimension):
    with pytest.raises(ValueError, match=r"^embedding_dim must be a whole number from 1 up; received [^\n]*\.$"):
        tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(2)], embedding_dim=dimension)


def test_an_embedding_dimension_of_any_integer_type_is_a_plain_integer():
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(2)], embedding_dim=np.array(3))
    assert type(model.embedding_dim) is int and model.embedding.embeddings.shape == (len(VOCABULARY), 3)

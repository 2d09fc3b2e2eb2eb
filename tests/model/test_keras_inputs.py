"""Tokens of every dtype and form through every door, and a model inside other models: as `keras.layers.Embedding`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.keras_surface import (
    ROWS,
    TIME,
    check_refused,
    make_arrays,
    make_charlm,
    make_functional,
)
from helpers.models import SIZE, VOCABULARY

X, Y, _ = make_arrays()
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
DTYPES = [*INTEGERS, "float16", "float32", "float64"]


@pytest.fixture(scope="module")
def pair():
    """A model, and a functional one with the same weights."""
    model, functional = make_charlm(), make_functional()
    functional.set_weights(model.get_weights())
    return model, functional


@pytest.fixture(scope="module")
def logits(pair):
    return pair[1](X).numpy()


def close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


DOORS = {
    "call": lambda model, tokens: model(tokens),
    "call with a tensor": lambda model, tokens: model(tf.constant(tokens)),
    "call with lists": lambda model, tokens: model(tokens.tolist()),
    "call with a dictionary": lambda model, tokens: model({"tokens": tokens}),
    "step": lambda model, tokens: model.step(tokens, model.initial_state(ROWS))[0],
    "step with lists": lambda model, tokens: model.step(tokens.tolist(), model.initial_state(ROWS))[0],
    "step of one token": lambda model, tokens: tf.concat(list(steps(model, tokens)), axis=1),
    "predict_on_batch": lambda model, tokens: model.predict_on_batch(tokens),
    "stateless_call": lambda model, tokens: model.stateless_call(model.trainable_variables, [], tokens)[0],
}


def steps(model, tokens):
    states = model.initial_state(ROWS)
    for t in range(TIME):
        logits, states = model.step(tokens[:, t : t + 1], states)
        yield logits


@pytest.mark.parametrize("door", DOORS)
def test_ids_of_any_dtype_are_the_same_ids(pair, logits, door, small_graphs):
    for dtype in DTYPES:
        close(DOORS[door](pair[0], X.astype(dtype)), logits)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_graph_reads_ids_of_any_dtype_and_shape(pair, logits, dtype, small_graphs):
    for shape in (None, (None, None)) if dtype in ("uint8", "float32") else [(None, None)]:
        compiled = tf.function(pair[0], input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)
        close(compiled(tf.constant(X.astype(dtype))), logits)


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32"])
def test_fit_reads_targets_of_any_dtype(pair, dtype, small_graphs):
    losses = []
    for tokens, targets in ((X, Y), (X.astype(dtype), Y.astype(dtype))):
        model = make_charlm()
        model.set_weights(pair[0].get_weights())
        model.compile("sgd", run_eagerly=True)
        losses.append(model.fit(tf.data.Dataset.from_tensors((tokens, targets)), epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "tokens",
    [
        np.full((1, 2), SIZE),
        np.full((1, 2), -1),
        np.full((1, 2), 2**32 + 3),
        np.full((1, 2), 2**32 + 3, np.uint64),
        np.full((1, 2), 2**64 - 2**32 + 3, np.uint64),
        np.full((1, 2), 2.0**32 + 3),
        np.full((1, 2), np.nan),
        np.full((1, 2), 2**31 + 3, np.uint32),
    ],
    ids=lambda tokens: f"{tokens.dtype} {tokens[0, 0]}",
)
def test_an_id_out_of_range_does_not_become_another_id(pair, tokens):
    for read in (pair[0], lambda ids: pair[0].step(ids, pair[0].initial_state(1))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"is not in \[0, 11\)"):
            read(tokens)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (X[0], r"tokens must be ids \(B, T\).*shape \(3,\)\. Type tokens\[None\] for a single row"),
        (X[None], r"tokens must be ids \(B, T\).*shape \(1, 6, 3\)"),
        (np.int32(3), r"tokens must be ids \(B, T\).*shape \(\)"),
        (np.array([["a", "b"]]), r"vocabulary.encode\(text\)\[None\]; received the dtype string"),
        (tf.ragged.constant([[1], [1, 2]]), "received a RaggedTensor. Pad the rows"),
        (tf.sparse.from_dense(X), "received a SparseTensor"),
        ([[1], [1, 2]], "equal lengths"),
        ({"token": X}, 'dictionary with the key "tokens"'),
        (keras.KerasTensor((None,)), r"shape \(None,\)"),
    ],
)
def test_what_is_not_ids_is_refused(pair, tokens, message):
    check_refused(lambda: pair[0](tokens), message)


def test_no_rows_and_no_tokens(pair, small_graphs):
    assert pair[0](X[:0]).shape == (0, TIME, SIZE) and pair[0](X[:, :0]).shape == (ROWS, 0, SIZE)


def test_a_mask_is_that_of_a_functional_model(rng, pair, small_graphs):
    """Given as an argument, as numbers, or by a layer in front of the model, from which it reaches what follows."""
    model, functional = pair
    mask = rng.random((ROWS, TIME)) < 0.6
    _, embedding, recurrent, head = functional.layers
    expected = head(recurrent(embedding(X), mask=tf.constant(mask)))
    close(model(X, mask=mask), expected)
    close(model(X, mask=mask.astype(np.int32)), expected)
    check_refused(lambda: model.step(X, model.initial_state(ROWS), mask=mask[..., None]), r"mask must be ids \(B, T\)")

    class Masked(keras.layers.Layer):
        supports_masking = True

        def call(self, tokens):
            return tokens

        def compute_mask(self, tokens, previous_mask=None):
            return mask

    seen = []

    class Reader(keras.layers.Layer):
        supports_masking = True

        def call(self, outputs, mask=None):
            seen.append(mask)
            return outputs

    tokens = Masked()(tf.constant(X))
    close(Reader()(model(tokens)), expected)
    np.testing.assert_array_equal(seen[0], mask)


# -- a model inside other models


def in_sequential(inner):
    return keras.Sequential([inner, keras.layers.Softmax()])


def in_functional(inner, **arguments):
    tokens = keras.Input((None,), **arguments)
    return keras.Model(tokens, keras.layers.Softmax()(inner(tokens)))


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.softmax = inner, keras.layers.Softmax()

    def call(self, tokens, training=False):
        return self.softmax(self.inner(tokens, training=training))


OUTER = {
    "Sequential": in_sequential,
    "functional": in_functional,
    "functional of bytes": lambda inner: in_functional(inner, dtype="uint8"),
    "functional of functional": lambda inner: in_functional(in_functional(inner).layers[1], dtype="int64"),
    "Sequential of Sequential": lambda inner: in_sequential(keras.Sequential([inner])),
    "subclassed": Subclassed,
}


@pytest.mark.parametrize("outer", OUTER)
def test_a_model_inside_another_one(pair, logits, outer, small_graphs):
    around = OUTER[outer](pair[0])
    expected = keras.ops.softmax(logits)
    close(around(X.astype(np.uint8)), expected)
    close(around.predict(X.astype(np.uint8), verbose=0), expected)


def test_a_model_of_named_inputs_and_a_model_that_is_used_twice(pair, logits, small_graphs):
    tokens = keras.Input((None,), name="tokens")
    named = keras.Model({"tokens": tokens}, pair[0]({"tokens": tokens}))
    close(named({"tokens": X}), logits)
    close(keras.Model(tokens, keras.layers.Add()([pair[0](tokens), pair[0](tokens)]))(X), 2 * logits)


@pytest.mark.parametrize("length", [2, None])
def test_time_distributed_reads_several_texts_of_a_row(pair, logits, length, small_graphs):
    texts = keras.Input((length, TIME))
    model = keras.Model(texts, keras.layers.TimeDistributed(pair[0])(texts))
    assert model.output_shape == (None, length, TIME, SIZE)
    close(model(X.reshape(3, 2, TIME)), logits.reshape(3, 2, TIME, SIZE))


@pytest.mark.parametrize("outer", ["Sequential", pytest.param("functional", marks=pytest.mark.slow)])
def test_an_outer_model_is_fitted_and_saved_as_with_layers_of_keras(pair, outer, tmp_path, small_graphs):
    models = []
    for inner in (make_charlm(), make_functional()):
        inner.set_weights(pair[0].get_weights())
        model = OUTER[outer](inner)
        model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "sparse_categorical_crossentropy")
        model.fit(X, Y, batch_size=2, epochs=2, shuffle=False, verbose=0)
        models.append(model)
    ours, keras_own = models
    for value, expected in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    assert ours.history.history["loss"] == pytest.approx(keras_own.history.history["loss"], rel=1e-5)
    ours.save(tmp_path / "outer.keras")
    again = keras.models.load_model(tmp_path / "outer.keras")
    close(again(X), ours(X))
    assert int(again.optimizer.iterations) == 6


def test_dropout_of_an_inner_model_follows_the_training_of_the_outer_one(small_graphs):
    outer = in_sequential(make_charlm(dropout=0.5))
    assert np.array_equal(outer(X), outer(X))
    assert not np.allclose(outer(X, training=True), outer(X))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_decode_takes_ids_of_any_integer_dtype(dtype):
    text = "".join(VOCABULARY.tokens[i] for i in X[0])
    for ids in (X[0].astype(dtype), tf.constant(X[0].astype(dtype)), X[0].astype(dtype).tolist()):
        assert VOCABULARY.decode(ids) == text
    check_refused(lambda: VOCABULARY.decode(X.astype(dtype)), r"ids must be integers \(length,\)")

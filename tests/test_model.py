"""CharLM against the NumPy model: logits, training on carried state, padding, metrics, saving."""

import gc
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import reference
from tfcharlm.model.dropout import SequenceDropout
from tfcharlm.kernels import chains
from tfcharlm.model.metrics import BitsPerCharacter
from tfcharlm.text import Vocabulary, stream_dataset

VOCABULARY = Vocabulary("abcdefghijk")
SIZE = len(VOCABULARY)
LAYERS = [("lstm", 5), ("rnn", 3)]
BATCH, TIME, EMBEDDING = 4, 6, 2


def make_model(dtype="float64", **arguments):
    cells = [tfcharlm.LSTMCell(5, dtype=dtype), tfcharlm.RNNCell(3, dtype=dtype)]
    return tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=EMBEDDING, dtype=dtype, **arguments)


def flat(parameters):
    """The arrays of the reference in the order of `CharLM.weights`."""
    return keras.tree.flatten(tuple(parameters))


def make_pair(rng):
    """A model and the reference's parameters with the same numbers."""
    parameters = reference.random_parameters(rng, SIZE, EMBEDDING, LAYERS, scale=0.7)
    model = make_model()
    model.set_weights(flat(parameters))
    return model, parameters


@pytest.fixture
def pair(rng):
    return make_pair(rng)


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


def test_fit_is_truncated_backpropagation_with_carried_states(rng, pair):
    """50 updates of `fit`, row by row the same losses and weights as the loop in NumPy, resets included."""
    model, parameters = pair
    chunks = 50
    tokens = rng.integers(SIZE, size=(chunks, BATCH, TIME))
    targets = rng.integers(SIZE, size=(chunks, BATCH, TIME))
    start = rng.random((chunks, BATCH)) < 0.2
    start[0] = True

    states, losses = reference.initial_state(parameters, BATCH), []
    for x, y, begins in zip(tokens, targets, start, strict=True):
        states = keras.tree.map_structure(lambda s, begins=begins: np.where(begins[:, None], 0.0, s), states)
        loss, gradients, states = reference.loss_and_gradients(parameters, x, y, states=states)
        gradients, _ = reference.clip_by_global_norm(gradients, 0.25)
        updated = [
            reference.sgd(p, g, learning_rate=0.5)[0] for p, g in zip(flat(parameters), flat(gradients), strict=True)
        ]
        parameters = keras.tree.pack_sequence_as(parameters, updated)
        losses.append(loss)

    seen = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(float(logs["loss"])))
    model.compile(keras.optimizers.SGD(0.5, global_clipnorm=0.25))
    data = tf.data.Dataset.from_tensor_slices(({"tokens": tokens, "start": start}, targets))
    model.fit(data, verbose=0, callbacks=[record])
    running_means = np.cumsum(losses) / np.arange(1, chunks + 1)
    np.testing.assert_allclose(seen, running_means, rtol=1e-9)
    for weight, expected in zip(model.get_weights(), flat(parameters), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-9, atol=1e-12)


def test_nothing_is_left_of_a_model_that_is_gone(rng):
    """A process that trains one model after another does not keep their graphs, as Keras and TensorFlow would."""
    data = stream_dataset(rng.integers(SIZE, size=200), 3, 8)

    def graphs_left():
        model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(4), tfcharlm.RNNCell(3)], EMBEDDING)
        model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0))
        model.fit(data, verbose=0)
        model.evaluate(data, verbose=0)
        del model
        keras.utils.clear_session()
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    assert graphs_left() == graphs_left()


def test_dropout_is_one_mask_a_row_and_chunk(rng):
    """Logits and gradient with the masks known, compiled (so in two chains) and not: NumPy, finite differences."""
    parameters = reference.random_parameters(rng, SIZE, EMBEDDING, LAYERS, scale=0.7)
    rates = {"dropout": 0.4, "input_dropout": 0.3, "weight_drop": 0.25}
    model = make_model(**rates, dropout_seed=7)
    model.set_weights(flat(parameters))
    rows = 9
    tokens = rng.integers(SIZE, size=(rows, TIME))
    targets = rng.integers(SIZE, size=(rows, TIME))

    @tf.function
    def read(tokens, training):
        return model.step(tokens, model.initial_state(rows), training=training)[0]

    def logits_of(number):
        dropout = SequenceDropout(7, **rates)
        dropout.counter.assign(number)
        masks = tf.nest.map_structure(np.asarray, dropout.draw(rows, EMBEDDING, [5, 3], [(5, 20), (3, 3)]))
        lstm, rnn = (
            weights._replace(recurrent_kernel=weights.recurrent_kernel * mask)
            for weights, mask in zip(parameters.recurrent, masks.recurrent, strict=True)
        )
        vectors = parameters.embedding[tokens] * masks.inputs[:, None]
        outputs = reference.lstm_forward(lstm, vectors)[0] * masks.outputs[0][:, None]
        outputs = reference.rnn_forward(rnn, outputs)[0] * masks.outputs[1][:, None]
        return outputs @ parameters.head_kernel + parameters.head_bias

    for number in range(3):
        np.testing.assert_allclose(read(tf.constant(tokens), True), logits_of(number), rtol=1e-6, atol=1e-6)
    untouched = reference.step(parameters, tokens, reference.initial_state(parameters, rows))[0]
    np.testing.assert_allclose(read(tf.constant(tokens), False), untouched, rtol=1e-12, atol=1e-12)
    assert model.dropout.counter.numpy() == 3, "reading without training draws nothing"

    def loss(weights):
        model.set_weights(weights)
        model.dropout.counter.assign(5)
        with tf.GradientTape() as tape:
            logits = model.step(tf.constant(tokens), model.initial_state(rows), training=True)[0]
            value = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
        return value.numpy(), [tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, model.trainable_variables)]

    weights = flat(parameters)
    direction = [rng.normal(size=w.shape) for w in weights]
    ahead, behind = ([w + e * d for w, d in zip(weights, direction, strict=True)] for e in (1e-5, -1e-5))
    numerical = (loss(ahead)[0] - loss(behind)[0]) / 2e-5
    exact = sum(np.sum(g * d) for g, d in zip(loss(weights)[1], direction, strict=True))
    assert exact == pytest.approx(numerical, rel=1e-6)


def test_masks_of_dropout(rng):
    """A function of (seed, how many), of the right mean; no two rows or layers the same."""
    rates = dict(zip(("dropout", "input_dropout", "weight_drop"), rng.uniform(0.1, 0.8, 3).tolist(), strict=True))

    def draws(seed, count=1, **rates):
        dropout = SequenceDropout(seed, **rates)
        drawn = [dropout.draw(200, 400, [500, 300], [(200, 400), (3, 7)]) for _ in range(count)]
        return [tf.nest.map_structure(lambda mask: mask if mask is None else mask.numpy(), masks) for masks in drawn]

    first, second = draws(3, 2, **rates)
    wide, narrow = first.outputs
    for mask, rate in zip((wide, first.inputs, first.recurrent[0]), rates.values(), strict=True):
        assert np.mean(mask == 0) == pytest.approx(rate, abs=0.01) and mask.mean() == pytest.approx(1, abs=0.03)
    assert len({row.tobytes() for row in wide}) == 200 and first.recurrent[1].shape == (3, 7)
    # Of all that is drawn at once, no two are the same draws.
    for one, other in itertools.combinations([wide[:, :300], narrow, first.inputs[:, :300]], 2):
        assert 0.05 < np.mean((one == 0) == (other == 0)) < 0.95
    np.testing.assert_array_equal(draws(3, **rates)[0].recurrent[0], first.recurrent[0])
    for others in (second, draws(4, **rates)[0]):
        for one, other in zip(tf.nest.flatten(first), tf.nest.flatten(others), strict=True):
            assert not np.array_equal(one, other)
    only = draws(3, weight_drop=rates["weight_drop"])[0]
    np.testing.assert_array_equal(only.recurrent[0], first.recurrent[0])
    assert only.inputs is None and only.outputs == ()


@pytest.mark.parametrize(
    "arguments",
    [
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": "a"},
        {"dropout_seed": -1},
        {"input_dropout": 1},
        {"weight_drop": 2},
    ],
)
def test_dropout_that_cannot_be(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be .* received"):
        make_model(**arguments)


# Keras rounds these numbers to float32 also where weights are float64; 0.999 rounded is 1e-5 of 1 - 0.999 away. Those
# here are exact in float32.
RUNS = {
    # kind: (Keras's optimizer, ours by hand, clipping by hand)
    "rnn": (
        lambda: keras.optimizers.Adagrad(0.25, initial_accumulator_value=0.125, clipvalue=2**-6),
        lambda p, g, state: reference.adagrad(p, g, state, learning_rate=0.25, initial_accumulator_value=0.125),
        lambda gradients: reference.clip_by_value(gradients, 2**-6),
    ),
    "lstm": (
        lambda: keras.optimizers.Adam(2**-5, beta_1=0.875, beta_2=1 - 2**-10, global_clipnorm=0.25),
        lambda p, g, state: reference.adam(p, g, state, learning_rate=2**-5, beta_1=0.875, beta_2=1 - 2**-10),
        lambda gradients: reference.clip_by_global_norm(gradients, 0.25)[0],
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_fit_is_the_training_loop_in_numpy(kind, rng):
    """200 updates over parallel streams, three passes: the same loss at every step, and clipping has work to do."""
    build_optimizer, update, clip = RUNS[kind]
    cell = {"rnn": tfcharlm.RNNCell, "lstm": tfcharlm.LSTMCell}[kind](7, dtype="float64")
    model = tfcharlm.CharLM(VOCABULARY, [cell], embedding_dim=EMBEDDING, dtype="float64")
    parameters = reference.random_parameters(rng, SIZE, EMBEDDING, [(kind, 7)])
    model.set_weights(flat(parameters))
    # Mostly a walk through all tokens but one, so that there is something to learn.
    ids = rng.integers(SIZE, size=1700)
    for t in range(1, len(ids)):
        ids[t] = (2 * ids[t - 1] + 1) % SIZE if rng.random() < 0.9 else ids[t]
    data = stream_dataset(ids, BATCH, TIME, seed=1, passes=3).take(200)

    losses, clipped, optimizer_states = [], 0, [None] * len(flat(parameters))
    for x, targets in data.as_numpy_iterator():
        if x["start"].all():
            states = reference.initial_state(parameters, BATCH)
        loss, gradients, states = reference.loss_and_gradients(parameters, x["tokens"], targets, states=states)
        limited = clip(gradients)
        clipped += any(not np.allclose(a, b) for a, b in zip(flat(gradients), flat(limited), strict=True))
        after = [update(*own) for own in zip(flat(parameters), flat(limited), optimizer_states, strict=True)]
        updated, optimizer_states = zip(*after, strict=True)
        parameters = keras.tree.pack_sequence_as(parameters, list(updated))
        losses.append(loss)

    model.compile(build_optimizer())
    seen = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(float(logs["loss"])))
    model.fit(data, verbose=0, callbacks=[record])
    # Keras reports the mean of the steps so far.
    each = np.diff(np.arange(1, len(seen) + 1) * seen, prepend=0)
    np.testing.assert_allclose(each, losses, rtol=1e-6)
    assert len(seen) == 200 and clipped > 20, clipped
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20]), "nothing was learned"
    for weight, expected in zip(model.get_weights(), flat(parameters), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6, atol=1e-9)


def test_validation_in_between_does_not_disturb_training(rng):
    ids = rng.integers(SIZE, size=400)
    data = stream_dataset(ids, batch_size=3, sequence_length=8, passes=2)
    final = []
    for validation in (None, stream_dataset(ids[:90], batch_size=3, sequence_length=4)):
        keras.utils.set_random_seed(1)
        model = make_model("float32")
        model.compile(keras.optimizers.Adam(0.01))
        # Epochs of five batches end in the middle of a pass, where a disturbed state would show.
        model.fit(data.repeat(), epochs=4, steps_per_epoch=5, validation_data=validation, verbose=0)
        final.append(model.get_weights())
    for undisturbed, disturbed in zip(*final, strict=True):
        np.testing.assert_array_equal(undisturbed, disturbed)


def test_padding_changes_nothing_whatever_stands_in_it(rng, pair):
    model, _ = pair
    weights = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 2, 0.5, 0, 0, 0]])
    padding = np.cumsum(weights[:, ::-1] != 0, axis=1)[:, ::-1] == 0
    tokens, targets = rng.integers(SIZE, size=(2, BATCH, TIME))
    initial = model.get_weights()
    outcomes = []
    for rubbish in (0, 7, -5, 10**6):
        x, y = np.where(padding, rubbish, tokens), np.where(weights == 0, rubbish, targets)
        model.set_weights(initial)
        model.compile(keras.optimizers.SGD(1.0))
        start = np.ones(BATCH, bool)
        batches = tf.data.Dataset.from_tensors(({"tokens": x, "start": start}, y, weights))
        goes_on = tf.data.Dataset.from_tensors(({"tokens": tokens, "start": ~start}, targets, np.ones_like(weights)))
        history = model.fit(batches.concatenate(goes_on), verbose=0).history
        outcomes.append([history["loss"][0], *model.get_weights()])
    for outcome in outcomes[1:]:
        for value, expected in zip(outcome, outcomes[0], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_after_padding_a_row_goes_on_where_its_text_ended(rng, pair):
    model, parameters = pair
    lengths = [6, 2, 0, 4]
    tokens, targets = rng.integers(SIZE, size=(2, 2, BATCH, TIME))
    weights = (np.arange(TIME) < np.array(lengths)[:, None]).astype(float)
    total = 0.0
    for row, length in enumerate(lengths):
        text = np.concatenate([tokens[0, row, :length], tokens[1, row]])[None]
        follows = np.concatenate([targets[0, row, :length], targets[1, row]])[None]
        loss, _, _ = reference.loss_and_gradients(parameters, text, follows)
        total += loss * text.size
    model.compile()
    start = np.array([[True] * BATCH, [False] * BATCH])
    data = ({"tokens": tokens, "start": start}, targets, np.stack([weights, np.ones_like(weights)]))
    result = model.evaluate(tf.data.Dataset.from_tensor_slices(data), verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(total / (sum(lengths) + BATCH * TIME), rel=1e-12)


def test_metrics_count_tokens_not_batches(rng, pair):
    model, parameters = pair
    model.compile(weighted_metrics=["accuracy"])
    rows = 7
    tokens, targets = rng.integers(SIZE, size=(2, rows, TIME))
    weights = (np.arange(TIME) < rng.integers(0, TIME + 1, size=(rows, 1))).astype(np.float32)
    expected, _, _ = reference.loss_and_gradients(parameters, tokens, targets, weights=weights)
    logits, _, _ = reference.step(parameters, tokens, reference.initial_state(parameters, rows))
    accuracy = ((logits.argmax(-1) == targets) * weights).sum() / weights.sum()
    for batch_size in (1, 3, 7):
        result = model.evaluate(
            tokens, targets, sample_weight=weights, batch_size=batch_size, verbose=0, return_dict=True
        )
        assert result["loss"] == pytest.approx(expected, rel=1e-6)
        assert result["bits_per_character"] == pytest.approx(expected / np.log(2), rel=1e-6)
        assert result["accuracy"] == pytest.approx(accuracy, rel=1e-6)


@pytest.mark.parametrize(
    ("level", "text"), [("word", "to be, or not to be: that's it\n" * 3), ("byte", "naïve café\n" * 9)]
)
def test_bits_per_character_are_comparable_between_levels(level, text):
    vocabulary = Vocabulary.from_text(text, level)
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.RNNCell(4)])
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])  # every token has the same probability
    model.compile()
    ids = vocabulary.encode(text)
    result = model.evaluate(stream_dataset(ids, 2, 5, drop_remainder=False), verbose=0, return_dict=True)
    scored = len(text) - len(vocabulary.decode(ids[:1]))
    assert result["loss"] == pytest.approx(np.log(len(vocabulary)), rel=1e-6)
    assert result["bits_per_character"] == pytest.approx((len(ids) - 1) * np.log2(len(vocabulary)) / scored, rel=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, TIME)])
def test_weights_by_row_or_by_token(rng, pair, shape):
    model, parameters = pair
    model.compile()
    tokens, targets = rng.integers(SIZE, size=(2, 3, TIME))
    weights = rng.uniform(0.1, 2, size=shape)
    by_token = np.broadcast_to(weights.reshape(3, -1), (3, TIME))
    expected, _, _ = reference.loss_and_gradients(parameters, tokens, targets, weights=by_token)
    data = tf.data.Dataset.from_tensors((tokens, targets, weights))
    assert model.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-10)


def test_bits_per_character_of_nothing_is_zero():
    assert float(BitsPerCharacter().result()) == 0


def test_regularization_is_in_the_loss_and_not_in_the_bits(rng):
    cell = tfcharlm.LSTMCell(5, kernel_regularizer=keras.regularizers.L2(0.1))
    model = tfcharlm.CharLM(VOCABULARY, [cell], embedding_dim=EMBEDDING)
    model.compile()
    tokens, targets = rng.integers(SIZE, size=(2, BATCH, TIME))
    result = model.evaluate(tokens, targets, verbose=0, return_dict=True)
    penalty = 0.1 * np.square(cell.kernel.numpy()).sum()
    assert result["loss"] == pytest.approx(result["bits_per_character"] * np.log(2) + penalty, rel=1e-5)


def test_what_training_carries_is_not_saved_and_binds_no_batch_size(rng, tmp_path):
    ids = rng.integers(SIZE, size=200)
    model = make_model("float32")
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(stream_dataset(ids, batch_size=3, sequence_length=8), verbose=0)
    assert len(model.weights) == len(make_model().weights)
    model.fit(stream_dataset(ids, batch_size=5, sequence_length=4), verbose=0)
    assert model.predict(ids[None, :9], verbose=0).shape == (1, 9, SIZE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.vocabulary == VOCABULARY
    np.testing.assert_array_equal(again(ids[None]), model(ids[None]))
    other = stream_dataset(ids, batch_size=2, sequence_length=8)
    losses = [m.fit(other, verbose=0).history["loss"] for m in (model, again)]
    # The first model was traced for any shape, the second for this one: the same sums in another order.
    assert losses[0] == pytest.approx(losses[1], rel=1e-6), "the optimizer's state goes on too"
    assert make_model().from_config(model.get_config()).get_config() == model.get_config()
    options = {"dropout": 0.25, "dropout_seed": 3, "input_dropout": 0.5, "weight_drop": 0.125, "skip_connections": True}
    config = make_model(**options).get_config()
    assert make_model().from_config(config).get_config() == config and options.items() <= config.items()


def test_weight_drop_needs_kernels():
    with pytest.raises(ValueError, match=r"weight_drop=0.5 needs cells with kernels; .*: GRUCell has no kernel"):
        tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(3), keras.layers.GRUCell(4)], weight_drop=0.5)


def test_dropout_of_keras_cells_is_drawn_anew_for_every_batch(rng, monkeypatch):
    """Batches of other sizes and chains of unequal lengths: masks of an earlier one would not fit."""
    monkeypatch.setattr(chains, "shard_count", lambda rows: 2)
    model = tfcharlm.CharLM(VOCABULARY, [keras.layers.GRUCell(4, dropout=0.5, recurrent_dropout=0.5)])
    model.compile(keras.optimizers.Adam(0.01))
    for batch in (3, 5):
        model.fit(stream_dataset(rng.integers(SIZE, size=200), batch, 8), verbose=0)
    tokens = tf.constant(rng.integers(SIZE, size=(3, TIME)))
    draws = [model.step(tokens, model.initial_state(3), training=True)[0].numpy() for _ in range(2)]
    assert not np.allclose(*draws)


def test_mixed_bfloat16_keeps_loss_and_logits_in_float32(rng):
    model = make_model("mixed_bfloat16")
    tokens = rng.integers(SIZE, size=(BATCH, TIME))
    assert model(tokens).dtype == tf.float32
    np.testing.assert_array_equal(model(tokens), model.step(tf.constant(tokens), model.initial_state(BATCH))[0])
    exact = make_model("float32")
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(model(tokens), exact(tokens), atol=0.02)
    model.compile(keras.optimizers.Adam(0.01))
    ids = np.tile(np.arange(SIZE), 40)
    history = model.fit(stream_dataset(ids, 4, 8), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tfcharlm.CharLM("abc", [tfcharlm.RNNCell(3)]), r"vocabulary must be .*Vocabulary.from_text\(text\)"),
        (lambda: tfcharlm.CharLM(VOCABULARY, tfcharlm.RNNCell(3)), r"cells must be a list of RNN cells, such as"),
        (lambda: tfcharlm.CharLM(VOCABULARY, [keras.layers.LSTM(3)]), r"cells must be a list of RNN cells, such as"),
        (
            lambda: tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(3)], dtype="mixed_bfloat16"),
            r"float32 in bfloat16. Type RNNCell\(..., dtype='mixed_bfloat16'\)",
        ),
        (lambda: tfcharlm.CharLM(VOCABULARY, []), r"cells must be a list of RNN cells, such as"),
        (lambda: make_model().compile(loss="mse"), r"CharLM has its loss built in.*Type model.compile"),
    ],
)
def test_errors_name_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()

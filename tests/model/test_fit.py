"""CharLM.fit against training loops in NumPy; what it carries from chunk to chunk, saves, and leaves behind."""

import gc

import keras
import numpy as np
import pytest
from helpers.models import (
    BATCH,
    EMBEDDING,
    SIZE,
    TIME,
    VOCABULARY,
    check_fit_is_truncated_backpropagation,
    compile_model,
    make_model,
)
from helpers.reference_layers import flat

import tfcharlm
from tfcharlm import reference
from tfcharlm.text import stream_dataset


def test_fit_is_truncated_backpropagation_with_carried_states(rng, pair):
    check_fit_is_truncated_backpropagation(rng, *pair)


# Keras rounds these numbers to float32 also where weights are float64; 0.999 rounded is 1e-5 of 1 - 0.999 away. Those
# here are exact in float32.
RUNS = {
    # kind: (Keras's optimizer, ours by hand, clipping by hand)
    "rnn": (
        lambda: keras.optimizers.Adagrad(0.25, initial_accumulator_value=0.125, clipvalue=2**-6),
        lambda p, g, state: reference.adagrad(p, g, state, learning_rate=0.25, initial_accumulator_value=0.125),
        lambda gradients: reference.clip_by_value(gradients, 2**-6),
    ),
    "gru": (
        lambda: keras.optimizers.SGD(0.25, momentum=0.5, global_clipnorm=0.25),
        lambda p, g, state: reference.sgd(p, g, state, learning_rate=0.25, momentum=0.5),
        lambda gradients: reference.clip_by_global_norm(gradients, 0.25)[0],
    ),
    "lstm": (
        lambda: keras.optimizers.Adam(2**-5, beta_1=0.875, beta_2=1 - 2**-10, global_clipnorm=0.25),
        lambda p, g, state: reference.adam(p, g, state, learning_rate=2**-5, beta_1=0.875, beta_2=1 - 2**-10),
        lambda gradients: reference.clip_by_global_norm(gradients, 0.25)[0],
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_fit_is_the_training_loop_in_numpy(kind, rng):
    """200 updates over parallel streams, three epochs: the same loss at every step, and clipping has work to do."""
    build_optimizer, update, clip = RUNS[kind]
    cell = {"rnn": tfcharlm.RNNCell, "gru": tfcharlm.GRUCell, "lstm": tfcharlm.LSTMCell}[kind](7, dtype="float64")
    model = tfcharlm.CharLM(VOCABULARY, [cell], embedding_dim=EMBEDDING, dtype="float64")
    parameters = reference.random_parameters(rng, SIZE, EMBEDDING, [(kind, 7)])
    model.set_weights(flat(parameters))
    # Mostly a walk through all tokens but one, so that there is something to learn.
    ids = rng.integers(SIZE, size=1700)
    for t in range(1, len(ids)):
        ids[t] = (2 * ids[t - 1] + 1) % SIZE if rng.random() < 0.9 else ids[t]
    data = stream_dataset(ids, BATCH, TIME, seed=1, epochs=3).take(200)

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


def test_validation_in_between_does_not_disturb_training(rng, small_graphs):
    ids = rng.integers(SIZE, size=400)
    data = stream_dataset(ids, batch_size=3, sequence_length=8, epochs=2)
    final = []
    for validation in (None, stream_dataset(ids[:90], batch_size=3, sequence_length=4)):
        keras.utils.set_random_seed(1)
        model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(5)], EMBEDDING)
        compile_model(model, keras.optimizers.Adam(0.01))
        # Epochs of five batches end in the middle of an epoch of the data set, where a disturbed state would show.
        model.fit(data.repeat(), epochs=4, steps_per_epoch=5, validation_data=validation, verbose=0)
        final.append(model.get_weights())
    for undisturbed, disturbed in zip(*final, strict=True):
        np.testing.assert_array_equal(undisturbed, disturbed)


@pytest.mark.slow
def test_what_training_carries_is_not_saved_and_binds_no_batch_size(rng, tmp_path, small_graphs):
    ids = rng.integers(SIZE, size=200)
    model = make_model("float32")
    compile_model(model, keras.optimizers.Adam(0.01))
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
    assert losses[0] == pytest.approx(losses[1], rel=1e-6), "the optimizer's state continues too"
    assert make_model().from_config(model.get_config()).get_config() == model.get_config()
    options = {"dropout": 0.25, "dropout_seed": 3, "input_dropout": 0.5, "weight_drop": 0.125, "skip_connections": True}
    config = make_model(**options).get_config()
    assert make_model().from_config(config).get_config() == config and options.items() <= config.items()


@pytest.mark.slow
def test_nothing_is_left_of_a_model_that_is_gone(rng, small_graphs):
    """A process that trains one model after another does not keep their graphs, as Keras and TensorFlow would."""
    data = stream_dataset(rng.integers(SIZE, size=200), 3, 8)

    def graphs_left():
        model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(4)], EMBEDDING)
        model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0))
        model.fit(data, verbose=0)
        model.evaluate(data, verbose=0)
        del model
        keras.utils.clear_session()
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    assert graphs_left() == graphs_left()

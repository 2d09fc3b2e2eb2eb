"""Several networks in one model against NumPy: the mean of their logits, and each learns by itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import assert_close
from helpers.reference_layers import flat

import tfcharlm
from tfcharlm import reference
from tfcharlm.layers import Wiring
from tfcharlm.text import Vocabulary

BATCH, TOKENS, EMBEDDING = 4, 6, 8
VOCABULARY = Vocabulary("abcdefghijk")
NETWORKS = {
    "one layer each": ([("lstm", 7)], [("gru", 5)], [("lstm", 2)]),
    "two layers each": ([("lstm", 7), ("rnn", 2)], [("rnn", 3), ("lstm", 4)]),
}
KINDS = {"rnn": tfcharlm.RNNCell, "lstm": tfcharlm.LSTMCell, "gru": tfcharlm.GRUCell}
networks = pytest.mark.parametrize("networks", NETWORKS)
skips = pytest.mark.parametrize("skip", [False, True])


@pytest.fixture(autouse=True)
def _short_turns(short_turns_and_two_shards):
    """For smaller graphs."""


def make_ensemble(rng, networks, skip):
    """A model, and the reference's parameters of each of its networks, which share vectors and biases."""
    networks = NETWORKS[networks]
    members = [
        reference.random_parameters(rng, len(VOCABULARY), EMBEDDING, layers, 0.7, skip_connections=skip)
        for layers in networks
    ]
    members = [m._replace(embedding=members[0].embedding, head_bias=members[0].head_bias) for m in members]
    cells = [KINDS[kind](units, dtype="float64") for layers in networks for kind, units in layers]
    options = {"members": len(networks), "skip_connections": skip}
    model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=EMBEDDING, dtype="float64", **options)
    model.set_weights(joined(members))
    return model, members


def joined(members):
    """The weights of the model."""
    recurrent = [array for m in members for array in flat(m)[1:-2]]
    kernel = np.concatenate([m.head_kernel for m in members])
    return [np.mean([m.embedding for m in members], 0), *recurrent, kernel, np.mean([m.head_bias for m in members], 0)]


@networks
@skips
def test_logits_are_averaged(rng, networks, skip):
    """For whole sequences, one token after the other, and in a compiled loop; states in the order of the layers."""
    model, members = make_ensemble(rng, networks, skip)
    tokens = rng.integers(len(VOCABULARY), size=(BATCH, TOKENS))
    all_states = [
        keras.tree.map_structure(lambda state: rng.normal(size=state.shape), reference.initial_state(m, BATCH))
        for m in members
    ]
    results = [reference.step(m, tokens, states) for m, states in zip(members, all_states, strict=True)]
    expected, last = np.mean([logits for logits, *_ in results], axis=0), [states for _, states, _ in results]
    states = [tf.constant(state) for state in keras.tree.flatten(all_states)]
    assert_close(model.step(tokens, states), [expected, last])
    from_zeros = [reference.step(m, tokens, reference.initial_state(m, BATCH))[0] for m in members]
    assert_close(model(tokens), np.mean(from_zeros, axis=0))
    values = [variable.value for variable in model.variables]
    for t in range(TOKENS):
        logits, states = model.stateless_step(values, tf.constant(tokens[:, t : t + 1], tf.int32), states)
        assert_close(logits[:, 0], expected[:, t])
    assert_close(states, last)


@networks
@skips
def test_each_network_learns_by_itself(rng, networks, skip):
    """A step of gradient descent changes each network as if it were alone; what they share, by the mean gradient."""
    model, members = make_ensemble(rng, networks, skip)
    tokens, targets = rng.integers(len(VOCABULARY), size=(2, BATCH, TOKENS))
    outcomes = [reference.loss_and_gradients(m, tokens, targets) for m in members]
    model.compile(keras.optimizers.SGD(1.0))
    loss = model.train_on_batch(tokens, targets, return_dict=True)["loss"]
    assert loss == pytest.approx(np.mean([loss for loss, *_ in outcomes]))
    changes = joined([gradients for _, gradients, _ in outcomes])
    changes[1:-1] = [gradient / len(members) for gradient in changes[1:-1]]
    before = joined(members)
    assert_close(model.get_weights(), [old - change for old, change in zip(before, changes, strict=True)])


def test_an_evaluation_is_of_the_averaged_logits(rng):
    model, members = make_ensemble(rng, "one layer each", False)
    tokens, targets = rng.integers(len(VOCABULARY), size=(2, BATCH, TOKENS))
    model.compile()
    logits = np.mean([reference.step(m, tokens, reference.initial_state(m, BATCH))[0] for m in members], axis=0)
    loss, hits = reference.cross_entropy(logits, targets)[0], np.mean(logits.argmax(-1) == targets)
    results = model.test_on_batch(tokens, targets, return_dict=True)
    assert results["loss"] == pytest.approx(loss) and results["accuracy"] == pytest.approx(hits)


def test_networks_are_exported_and_loaded(tmp_path):
    model = tfcharlm.CharLM(
        VOCABULARY, [tfcharlm.LSTMCell(3), tfcharlm.LSTMCell(5)], embedding_dim=2, members=2, weight_drop=0.25
    )
    loaded = tfcharlm.load_model(model.export(tmp_path / "1"))
    assert loaded.wiring == Wiring(2, members=2) and loaded.get_config() == model.get_config()
    assert loaded.generate("abc", max_length=20, seed=3) == model.generate("abc", max_length=20, seed=3)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.score("abcabc") == model.score("abcabc")


@pytest.mark.parametrize("members", [0, 2, True, 1.5, "2"])
def test_wrong_numbers_of_networks(members):
    with pytest.raises(ValueError, match=r"members.*; received"):
        tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(3) for _ in range(3)], members=members)

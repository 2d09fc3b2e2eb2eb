"""Skip connections against NumPy, in every way in which a model can be run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import assert_close
from helpers.masks import make_mask
from helpers.reference_layers import flat

import tfcharlm
from tfcharlm import reference
from tfcharlm.text import Vocabulary

# Whole turns of the loop, for a smaller graph.
BATCH, TOKENS = 4, 6
VOCABULARY = Vocabulary("abcdefghijk")
# 11 tokens: vectors of 8 numbers are multiplied once a table, those of 3 one by one.
STACKS = {
    "two layers": (3, [("lstm", 7), ("rnn", 2)], False),
    "three capped layers": (8, [("rnn", 6), ("lstm", 7), ("lstm", 2)], True),
}
stacks = pytest.mark.parametrize("stack", STACKS)


modes = pytest.mark.parametrize(
    ("compiled", "mask_name"), [(False, "none"), (False, "a row of nothing"), (True, "a row of nothing")]
)


@pytest.fixture(autouse=True)
def _short_turns(short_turns_and_two_shards):
    """For smaller graphs."""


def tensors(structure):
    return keras.tree.map_structure(lambda array: None if array is None else tf.constant(array), structure)


def make_pair(rng, stack):
    """A model with skip connections and the reference's parameters with the same numbers; its states are not zero."""
    embedding_dim, layers, cap = STACKS[stack]
    makers = {
        "rnn": lambda units: tfcharlm.RNNCell(units, dtype="float64"),
        "lstm": lambda units: tfcharlm.LSTMCell(units, cap_input_gate=cap, dtype="float64"),
    }
    cells = [makers[kind](units) for kind, units in layers]
    model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=embedding_dim, skip_connections=True, dtype="float64")
    parameters = reference.random_parameters(rng, len(VOCABULARY), embedding_dim, layers, 0.7, skip_connections=True)
    model.set_weights(flat(parameters))
    states = reference.initial_state(parameters, BATCH)
    return model, parameters, keras.tree.map_structure(lambda state: rng.normal(size=state.shape), states), cap


@stacks
@modes
def test_skip_connections(rng, stack, compiled, mask_name):
    """Logits, states, loss and gradient; a masked token may be any number."""
    model, parameters, states, cap = make_pair(rng, stack)
    tokens, targets = rng.integers(len(VOCABULARY), size=(2, BATCH, TOKENS))
    mask = make_mask(rng, mask_name, BATCH, TOKENS)
    arguments = {"mask": mask, "cap_input_gate": cap}
    logits, _, _ = reference.step(parameters, tokens, states, **arguments)
    loss, gradients, last = reference.loss_and_gradients(parameters, tokens, targets, states=states, **arguments)

    def run(tokens, states, mask):
        with tf.GradientTape() as tape:
            logits, last = model.step(tokens, states, mask=mask, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses if mask is None else tf.boolean_mask(losses, mask))
        variables = [weight.value for weight in model.weights]
        return logits, last, loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    tokens = tokens if mask is None else np.where(mask, tokens, -1)
    inputs = tensors((tokens, keras.tree.flatten(states), mask))
    results = (tf.function(run, autograph=False) if compiled else run)(*inputs)
    assert_close(results, [logits, last, loss, flat(gradients)])


@stacks
def test_skip_connections_token_by_token(rng, stack):
    """As sampling reads: single steps, and those that a compiler looks through."""
    model, parameters, states, cap = make_pair(rng, stack)
    tokens = rng.integers(len(VOCABULARY), size=(BATCH, TOKENS))
    expected, last, _ = reference.step(parameters, tokens, states, cap_input_gate=cap)
    values = [variable.value for variable in model.variables]
    for step in (model.step, lambda *arguments: model.stateless_step(values, *arguments)):
        own = [tf.constant(state) for state in keras.tree.flatten(states)]
        for t in range(TOKENS):
            logits, own = step(tf.constant(tokens[:, t : t + 1], tf.int32), own)
            assert_close(logits[:, 0], expected[:, t])
        assert_close(own, last)

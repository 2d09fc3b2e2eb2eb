"""The tests are tested: each of these faults, put into the code, must make a test fail.

Without a mutant they pass: they are tests of the other modules, with arguments that those have too.
A mutant replaces the code object of one function while one test runs, so whoever holds the function runs the mutant.
"""

import inspect
import textwrap

import pytest
import tensorflow as tf
import test_data
import test_generation
import test_kernels
import test_layers
import test_model
import test_reference
import test_signatures

from tfcharlm import reference
from tfcharlm.model.carried_state import CarriedState
from tfcharlm.generation import beams
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.loop import TokenLoop
from tfcharlm.generation.streaming import TextStreamer
from tfcharlm.kernels import chains, lstm_step, precision, recurrences, rnn_step, sequence
from tfcharlm.layers import RNN
from tfcharlm.model.char_lm import CharLM
from tfcharlm.analysis.novelty import _Index
from tfcharlm.reference import lstm as reference_lstm
from tfcharlm.text import datasets, line_dataset

LAYER = {"mask": None, "wrapper": "stock", "dtype": "float64", "tolerance": 1e-12}


def cell_test(rng, kind="lstm"):
    test_layers.test_cell_agrees_with_numpy(rng, kind, **LAYER)


def keras_test(rng):
    test_layers.test_same_weights_as_the_keras_layer_give_the_same_results(rng, "lstm", "stock", None)


def precision_test(rng):
    with pytest.MonkeyPatch.context() as patch:
        test_layers.test_what_follows_a_bfloat16_product_is_float32(rng, patch)


def kernel_test(rng):
    """Two turns of the loop and single steps after them, a mask with holes, states from before."""
    test = test_kernels.test_kernel_loop_and_numpy_agree.hypothesis.inner_test
    test(test_kernels.Compiled(), ("lstm", 3, 19, "holes", False, 5))


def chain_test(rng):
    with pytest.MonkeyPatch.context() as patch:
        test_kernels.test_chains_keep_rows_in_their_places(rng, patch, 3, True)


def document_test(rng):
    test_data.test_every_document_is_read_once_from_its_start.hypothesis.inner_test([5, 9, 2], 2, 3, 1)


def line_test(rng):
    test_data.test_every_line_is_a_row_with_its_end.hypothesis.inner_test(["ab", "c", "", "abc"], 3, 1)


def novelty_test(rng):
    test_data.test_equal_hashes_of_other_texts_are_no_copies()


def finite_difference_test(rng):
    test_reference.test_layer_gradients_against_finite_differences("lstm", test_reference.RAGGED, rng)


def fit_test(rng):
    test_model.test_fit_is_truncated_backpropagation_with_carried_states(rng, test_model.make_pair(rng))


def padding_test(rng):
    test_model.test_padding_changes_nothing_whatever_stands_in_it(rng, test_model.make_pair(rng))


def padded_state_test(rng):
    test_model.test_after_padding_a_row_goes_on_where_its_text_ended(rng, test_model.make_pair(rng))


def sampling_test(rng):
    test_generation.test_generate_is_the_sampling_of_the_reference(test_generation.make_model(), "a bad cabé", 0.8)


def batch_test(rng):
    test_generation.test_a_row_does_not_depend_on_its_batch_nor_on_the_length(test_generation.make_model(), {})


def score_test(rng):
    model = test_generation.make_model()
    signatures = {"score": model.text_graph().score}
    test_signatures.test_scores_are_those_of_the_reference(rng, model, signatures)


def stop_test(rng):
    test_signatures.test_a_stop_string_is_found_across_pieces(test_generation.make_model())


def beam_test(rng):
    test_signatures.test_a_beam_of_full_width_is_an_exhaustive_search(test_signatures.make_small(), "ab")


def adam_test(rng):
    numbers = {"learning_rate": 2**-6, "beta_1": 0.875, "beta_2": 1 - 2**-10}
    test_reference.test_optimizer_against_keras(reference.adam, numbers, rng)


MUTANTS = {
    "gate blocks i and f swapped": (lstm_step, "z_i, z_f, z_g, z_o =", "z_f, z_i, z_g, z_o =", [cell_test, keras_test]),
    "gate blocks g and o swapped": (lstm_step, "z_i, z_f, z_g, z_o =", "z_i, z_f, z_o, z_g =", [cell_test, keras_test]),
    "no forget path": (lstm_step, "f * tf.cast(c, z_i.dtype) + i", "i", [cell_test, keras_test]),
    "output not squashed": (lstm_step, "o * activation(c_next)", "o * c_next", [cell_test, keras_test]),
    "arithmetic in bfloat16": (precision.at_least_float32, "tf.cast(tensor, tf.float32)", "tensor", [precision_test]),
    "rnn forgets": (rnn_step, "x, h)), h.dtype", "x, h * 0)), h.dtype", [lambda rng: cell_test(rng, "rnn")]),
    "kernel: output gate derived by the cell": (
        recurrences._lstm_backward, "dy=d_h * tanh_c", "dy=d_h * after[0]", [kernel_test],
    ),
    "kernel: no forget path back": (recurrences._lstm_backward, "d_c * f", "d_c", [kernel_test]),
    "kernel: gates swapped": (recurrences._lstm_forward, "z_if, z_g, z_o =", "z_if, z_o, z_g =", [kernel_test]),
    "kernel: masked steps have gradients": (
        sequence.backward, "tf.where(sequence.keep[t], d_z, tf.zeros_like(d_z))", "d_z", [kernel_test],
    ),
    "kernel: masked steps stop the state's gradient": (
        sequence.backward, "tf.where(sequence.keep[t], new, old)", "tf.where(sequence.keep[t], new, 0 * old)",
        [kernel_test],
    ),
    "kernel: gradient of one turn only": (sequence.backward, "d_matrix +=", "d_matrix =", [kernel_test]),
    "chains: a row lost": (chains.map_shards, "rows * k // count for", "rows * k // count - 1 for", [chain_test]),
    "gates swapped in NumPy": (reference_lstm._gates, "z_i, z_f, z_g, z_o =", "z_f, z_i, z_g, z_o =", [cell_test]),
    "no forget path back": (reference_lstm._step_backward, "d_c * f\n", "d_c\n", [finite_difference_test]),
    "output gate derived by the cell": (
        reference_lstm._step_backward, "d_h * tanh_c *", "d_h * c_next *", [finite_difference_test],
    ),
    "second moment not squared": (reference.adam, "gradient**2", "gradient", [adam_test]),
    "state left out of sampling": (
        TokenLoop._tile, "new_logits, new_states = self._stateless_step(values, own[:, None], states)",
        "(new_logits, _), new_states = self._stateless_step(values, own[:, None], states), states", [sampling_test],
    ),
    "padding of a prompt read": (TokenLoop._tile, "(t < lengths)", "(t >= 0)", [batch_test]),
    "noise of every piece the same": (TokenLoop._tile, "position + tf.range(DECODE_BLOCK)", "tf.range(DECODE_BLOCK)", [batch_test]),
    "prompt begins no line": (
        TextGraph._read, "tf.concat([start, tokens], axis=1)", "tf.concat([tokens, start], axis=1)", [sampling_test],
    ),
    "padding scored": (
        TextGraph._score_chunk, "tf.where(mask, tf.cast(values, tf.float64), 0.0)", "tf.cast(values, tf.float64)",
        [score_test],
    ),
    "tokens scored by themselves": (
        TextGraph._shifted, "tf.concat([first, targets[:, :-1]], axis=1)", "targets", [score_test],
    ),
    "half a stop string shown": (TextStreamer._possible_stop, "default=0)", "default=0) * 0", [stop_test]),
    "beams forget their past": (beams._search, "scores[:, None] +", "0 * scores[:, None] +", [beam_test]),
    "beams keep their state": (beams._search, "tf.gather(state, parents)", "state", [beam_test]),
    "state not advanced in NumPy": (
        reference.sample, "logits, states, _ = step(parameters, written[k]",
        "logits, _, _ = step(parameters, written[k]", [sampling_test],
    ),
    "state not carried": (CarriedState.keep, "variable.assign(state)", "pass", [fit_test]),
    "rows not reset": (CarriedState.resume, "tf.where(begins, fresh, ", "(", [fit_test]),
    "gradient of slices": (CharLM._gradients, "map(tf.convert_to_tensor, tape", "(tape", [fit_test]),
    "padding read": (
        RNN.run, "tf.where(tf.broadcast_to(mask, tf.shape(inputs)), inputs, 0 * inputs)", "inputs", [padding_test],
    ),
    "documents start once a pass": (
        datasets._document_windows, "(within == 0) & (window", "(within < 0) & (window", [document_test],
    ),
    "documents read into each other": (
        datasets._document_windows, "tf.gather(sizes, document) - 1", "tf.gather(sizes, document)", [document_test],
    ),
    "lines not shifted": (line_dataset, "places + 1", "places", [line_test]),
    "lines of the last batch lost": (line_dataset, "-(-len(lengths) // rows)", "len(lengths) // rows", [line_test]),
    "equal hashes are copies": (
        _Index.starts, "self.corpus[place : place + length] == self.piece(length, first[gram])", "True", [novelty_test],
    ),
    "padding moves the state": (CharLM._read, "mask=mask, training", "training", [padded_state_test]),
}  # fmt: skip


def mutant_of(function, old, new):
    """The code of a function whose source has `new` in the place of `old`."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}"
    names = dict(function.__globals__)
    exec(compile(source.replace(old, new), "<mutant>", "exec"), names)
    return names[function.__name__].__code__


# Seconds each: these compile a loop of their own.
SLOW = (batch_test, score_test, beam_test, stop_test)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * any(test in SLOW for test in MUTANTS[name][3])) for name in MUTANTS],
)
def test_a_mutant_makes_a_test_fail(rng, monkeypatch, name):
    function, old, new, tests = MUTANTS[name]
    monkeypatch.setattr(function, "__code__", mutant_of(function, old, new))
    for test in tests:
        # A mutant may also break what the test calls, such as a lookup of an id out of range.
        with pytest.raises((AssertionError, ValueError, tf.errors.InvalidArgumentError)):
            test(rng)

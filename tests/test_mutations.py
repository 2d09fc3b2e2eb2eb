"""The tests are tested: each of these faults, put into the code, must make a check fail.

The checks are those of `helpers`, which the tests of the rooms call, too; without a mutant they pass. A mutant replaces
the code object of one function while one check runs, so whoever holds the function runs the mutant.
"""

import inspect
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from helpers import batches, cells, copies, fused, letters, models, reference_layers

from tfcharlm import reference
from tfcharlm.analysis.novelty import _Index
from tfcharlm.generation import StopSearch, TextGraph, beams, scorer
from tfcharlm.generation.loop import TokenLoop
from tfcharlm.generation.scorer import Scorer
from tfcharlm.kernels import equations, fused_kernel, precision, shards, steps
from tfcharlm.layers import RNN
from tfcharlm.model import CharLM
from tfcharlm.model.carried_state import CarriedState
from tfcharlm.reference import lstm as reference_lstm
from tfcharlm.text import datasets
from tfcharlm.text.lines import item_dataset


def lstm_check(rng):
    cells.check_cell_against_numpy(rng, "lstm")


def rnn_check(rng):
    cells.check_cell_against_numpy(rng, "rnn")


def keras_check(rng):
    cells.check_cell_against_keras(rng, "lstm")


def precision_check(rng):
    with pytest.MonkeyPatch.context() as patch:
        cells.check_what_follows_a_bfloat16_product_is_float32(rng, patch)


def fused_check(rng):
    """Two turns of the loop and a single step after them, a mask with holes, states from before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_kernel, "STEPS_PER_TURN", 2)
        fused.check_fused_kernel_loop_and_numpy(fused.CompiledLoops(), "lstm", 3, 5, "holes", False, 5)


def shard_check(rng):
    with pytest.MonkeyPatch.context() as patch:
        fused.check_shards_keep_rows_in_order(rng, patch, 3, True)


def document_check(rng):
    batches.check_every_document_is_read_once_from_its_start([5, 9, 2], 2, 3, 1)


def line_check(rng):
    batches.check_every_line_is_a_row_with_its_end(["ab", "c", "", "abc"], 3, 1)


def novelty_check(rng):
    copies.check_equal_hashes_of_other_texts_are_no_copies()


def finite_difference_check(rng):
    reference_layers.check_layer_gradients("lstm", reference_layers.RAGGED, rng)


def adam_check(rng):
    numbers = {"learning_rate": 2**-6, "beta_1": 0.875, "beta_2": 1 - 2**-10}
    reference_layers.check_optimizer_against_keras(reference.adam, numbers, rng)


def fit_check(rng):
    models.check_fit_is_truncated_backpropagation(rng, *models.make_pair(rng), chunks=10)


def padding_check(rng):
    model, _ = models.make_pair(rng)
    models.check_padding_changes_nothing(rng, model)


def padded_state_check(rng):
    models.check_a_row_continues_after_padding(rng, *models.make_pair(rng))


def sampling_check(rng):
    letters.check_generate_is_the_sampling_of_the_reference(letters.make_letters_model(), "a bad cabé", 0.8)


def batch_check(rng):
    letters.check_a_row_depends_neither_on_its_batch_nor_on_the_length(letters.make_letters_model())


def score_check(rng):
    model = letters.make_letters_model()
    letters.check_scores_are_those_of_the_reference(rng, model, model.text_graph().score)


def sequence_check(rng):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorer, "LARGEST_VOCABULARY_OF_LOOP", 1)
        score_check(rng)


def stop_check(rng):
    letters.check_a_stop_string_is_found_across_pieces(letters.make_letters_model())


def beam_check(rng):
    letters.check_a_beam_of_full_width_is_an_exhaustive_search(letters.make_few_letters_model(), "ab")


CHECKS = [value for name, value in list(globals().items()) if name.endswith("_check")]
# Seconds each: these compile a loop of their own.
SLOW = (batch_check, score_check, sequence_check, beam_check, stop_check)

MUTANTS = {
    "gate blocks i and f swapped": (
        equations.lstm_equation, "z_i, z_f, z_g, z_o =", "z_f, z_i, z_g, z_o =", [lstm_check, keras_check],
    ),
    "gate blocks g and o swapped": (
        equations.lstm_equation, "z_i, z_f, z_g, z_o =", "z_i, z_f, z_o, z_g =", [lstm_check, keras_check],
    ),
    "no forget path": (equations.lstm_equation, "c = kept + i", "c = i", [lstm_check, keras_check]),
    "output not squashed": (equations.lstm_equation, "o * activation(c)", "o * c", [lstm_check, keras_check]),
    "arithmetic in bfloat16": (precision.at_least_float32, "tf.cast(tensor, tf.float32)", "tensor", [precision_check]),
    "rnn forgets": (steps._pre_activations, "z = of_input + of_state", "z = of_input + 0 * of_state", [rnn_check]),
    "fused kernel: output gate derived by the cell": (
        equations._lstm_backward, "dy=d_h * tanh_c", "dy=d_h * c", [fused_check],
    ),
    "fused kernel: no forget path back": (equations._lstm_backward, "d_c * f", "d_c", [fused_check]),
    "fused kernel: gates swapped": (
        equations._lstm_forward, "z_if, z_g, z_o =", "z_if, z_o, z_g =", [fused_check],
    ),
    "fused kernel: masked steps have gradients": (
        fused_kernel.backward, "tf.where(sequence.is_real[t], d, tf.zeros_like(d)) for d in d_z", "d for d in d_z",
        [fused_check],
    ),
    "fused kernel: masked steps stop the state's gradient": (
        fused_kernel.backward, "tf.where(sequence.is_real[t], new, old)", "tf.where(sequence.is_real[t], new, 0 * old)",
        [fused_check],
    ),
    "fused kernel: gradient of one turn only": (
        fused_kernel.backward, "total + matmul(rows", "matmul(rows", [fused_check],
    ),
    "shards: a row lost": (shards.map_shards, "rows * k // count for", "rows * k // count - 1 for", [shard_check]),
    "gates swapped in NumPy": (reference_lstm._gates, "z_i, z_f, z_g, z_o =", "z_f, z_i, z_g, z_o =", [lstm_check]),
    "no forget path back": (reference_lstm._step_backward, "d_c * f\n", "d_c\n", [finite_difference_check]),
    "output gate derived by the cell": (
        reference_lstm._step_backward, "d_h * tanh_c *", "d_h * c_next *", [finite_difference_check],
    ),
    "second moment not squared": (reference.adam, "gradient**2", "gradient", [adam_check]),
    "state left out of sampling": (
        TokenLoop._tile, "new_logits, new_states = self.step(values, token[:, None], states)",
        "(new_logits, _), new_states = self.step(values, token[:, None], states), states", [sampling_check],
    ),
    "padding of a prompt read": (TokenLoop._tile, "(t < lengths)", "(t >= 0)", [batch_check]),
    "noise of every piece the same": (
        TokenLoop._tile, "position + tf.range(DECODE_BLOCK)", "tf.range(DECODE_BLOCK)", [batch_check],
    ),
    "prompt begins no line": (
        TextGraph._with_start, "tf.concat([start, tokens], axis=1)", "tf.concat([tokens, start], axis=1)",
        [sampling_check],
    ),
    "padding scored": (
        TokenLoop._score_tile, "tf.where(continues, tf.cast(log_probability, tf.float64), 0.0)",
        "tf.cast(log_probability, tf.float64)", [score_check],
    ),
    "tokens scored by those before them": (
        TokenLoop._score_tile, "tf.nn.log_softmax(logits), tokens[t]",
        "tf.nn.log_softmax(logits), tokens[tf.maximum(t - 1, 0)]", [score_check],
    ),
    "the newline before a text scored": (Scorer.certain_logits, "1e30", "0.0", [score_check]),
    "sequences: padding scored": (
        Scorer._sequence_block, "tf.where(positions + 1 < lengths[:, None], nats, 0.0)", "nats", [sequence_check],
    ),
    "sequences: a token lost between two": (Scorer._sequence_block, "nats + first", "nats", [sequence_check]),
    "half a stop string shown": (StopSearch._possible_stop, "default=0)", "default=0) * 0", [stop_check]),
    "beams forget their past": (beams._search, "scores[:, None] +", "0 * scores[:, None] +", [beam_check]),
    "beams keep their state": (TextGraph._advance, "tf.gather(state, parents)", "state", [beam_check]),
    "state not advanced in NumPy": (
        reference.sample, "logits, states, _ = step(parameters, written[k]",
        "logits, _, _ = step(parameters, written[k]", [sampling_check],
    ),
    "state not carried": (CarriedState.store, "variable.assign(state)", "pass", [fit_check]),
    "rows not reset": (CarriedState.resume, "tf.where(begins, fresh, ", "(", [fit_check]),
    "gradient of slices": (CharLM._gradients, "map(tf.convert_to_tensor, tape", "(tape", [fit_check]),
    "padding read": (
        RNN.run, "tf.where(tf.broadcast_to(mask, tf.shape(inputs)), inputs, 0 * inputs)", "inputs", [padding_check],
    ),
    "documents start once an epoch": (
        datasets._document_windows, "(within == 0) & (window", "(within < 0) & (window", [document_check],
    ),
    "documents read into each other": (
        datasets._document_windows, "tf.gather(sizes, document) - 1", "tf.gather(sizes, document)", [document_check],
    ),
    "lines not shifted": (item_dataset, "window[:, 1:]", "window[:, :-1]", [line_check]),
    "lines of the last batch lost": (
        item_dataset, "steps = -(-len(begins) // rows)", "steps = len(begins) // rows", [line_check]),
    "equal hashes are copies": (
        _Index.starts, "self.corpus[position : position + length] == self.piece(length, first[gram])", "True",
        [novelty_check],
    ),
    "padding moves the state": (
        CharLM._forward, "read(tokens, states, padding_mask)", "read(tokens, states)", [padded_state_check],
    ),
}  # fmt: skip


def mutant_of(function, old, new):
    """The code of a function whose source has `new` in the place of `old`."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}"
    names = dict(function.__globals__)
    exec(compile(source.replace(old, new), "<mutant>", "exec"), names)
    return names[function.__name__].__code__


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * any(check in SLOW for check in MUTANTS[name][3]))
        for name in MUTANTS
    ],
)
def test_a_mutant_makes_a_check_fail(rng, monkeypatch, small_graphs, name):
    function, old, new, checks = MUTANTS[name]
    monkeypatch.setattr(function, "__code__", mutant_of(function, old, new))
    for check in checks:
        # A mutant may also break what the check calls, such as a lookup of an id out of range.
        with pytest.raises((AssertionError, ValueError, tf.errors.InvalidArgumentError)), np.errstate(all="ignore"):
            check(rng)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.slow
def test_every_check_passes_without_a_mutant(rng, small_graphs, check):
    """The tests of the rooms call the same checks, most of them with these arguments."""
    check(rng)

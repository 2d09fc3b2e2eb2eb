"""Activations, gradients and tracks against NumPy, finite differences, `CharLM.step` and planted units."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import reference
from tfcharlm.analysis import FEATURES, Activations, activations, gradient_norms, correlate_units
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary("\n abcdefgh")
TEXT = "a bad\ncabbage had a bed"
LAYERS = [("lstm", 5), ("rnn", 3), ("lstm", 4)]


def make_pair(rng, dtype="float64", vocabulary=VOCABULARY):
    """A model and the reference's parameters with the same numbers."""
    kinds = {"lstm": tfcharlm.LSTMCell, "rnn": tfcharlm.RNNCell}
    cells = [kinds[kind](units, dtype=dtype) for kind, units in LAYERS]
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=2, dtype=dtype)
    parameters = reference.random_parameters(rng, len(vocabulary), 2, LAYERS, scale=0.8)
    model.set_weights(keras.tree.flatten(tuple(parameters)))
    return model, parameters


def recorded_by_reference(parameters, tokens):
    *_, cache = reference.step(parameters, [tokens], reference.initial_state(parameters, 1))
    for layer in cache.layers:
        arrays = {"h": layer.h[0, 1:]}
        if isinstance(layer, reference.lstm.LSTMCache):
            arrays |= dict(zip("ifgo", np.split(layer.gates[0], 4, axis=1), strict=True)) | {"c": layer.c[0, 1:]}
        yield arrays


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("vocabulary", [VOCABULARY, Vocabulary("hgfed cba")], ids=["newline", "no newline"])
def test_activations_are_those_of_the_reference(rng, dtype, tolerance, vocabulary):
    model, parameters = make_pair(rng, dtype, vocabulary)
    text = TEXT if "\n" in vocabulary.tokens else TEXT.replace("\n", " ")
    start = vocabulary.encode("\n", errors="ignore")
    recorded = activations(model, text)
    expected = recorded_by_reference(parameters, [*start, *vocabulary.encode(text)])
    assert recorded.pieces == tuple(text) and recorded.text == text
    for layer, arrays in zip(recorded.layers, expected, strict=True):
        assert set(layer) == set(arrays)
        for kind, array in arrays.items():
            np.testing.assert_allclose(layer[kind], array[len(start) :], rtol=0, atol=tolerance, err_msg=kind)


CELLS = {
    "other activations": lambda: [tfcharlm.LSTMCell(3, "relu", "hard_sigmoid"), tfcharlm.RNNCell(2, "relu")],
    "no bias": lambda: [tfcharlm.RNNCell(3, use_bias=False), tfcharlm.LSTMCell(2, use_bias=False)],
    "cells of Keras": lambda: [keras.layers.GRUCell(3), keras.layers.LSTMCell(2), tfcharlm.LSTMCell(4)],
    "stacked": lambda: [keras.layers.StackedRNNCells([tfcharlm.LSTMCell(3), tfcharlm.RNNCell(2)])],
    "capped": lambda: [tfcharlm.LSTMCell(4, cap_input_gate=True), tfcharlm.LSTMCell(3, cap_input_gate=True)],
}


def states_by_step(model, text):
    """The states after each token, from `CharLM.step`: lists of (units,)."""
    states, rows = model.initial_state(1), []
    step = tf.function(model.step, autograph=False)
    for token in model.vocabulary.encode("\n" + text):
        _, states = step(tf.constant([[token]]), states)
        rows.append([state[0].numpy() for state in states])
    return [np.stack(column) for column in zip(*rows[1:], strict=True)]


def recorded_states(recorded):
    """The states alone, in the order in which a model has them."""
    for layer in recorded.layers:
        yield from [layer[kind] for kind in ("h", "c") if kind in layer] or layer.values()


@pytest.mark.parametrize("name", CELLS)
def test_states_of_every_kind_of_cell_are_those_of_step(rng, name):
    model = tfcharlm.CharLM(VOCABULARY, CELLS[name](), embedding_dim=2, skip_connections=name == "capped")
    recorded, expected = activations(model, TEXT), states_by_step(model, TEXT)
    for array, states in zip(recorded_states(recorded), expected, strict=True):
        np.testing.assert_allclose(array, states, atol=1e-5)


@pytest.mark.parametrize("skip", [False, True])
def test_bfloat16_products_and_float32_states(rng, skip):
    cells = [tfcharlm.LSTMCell(units, dtype="mixed_bfloat16") for units in ((5, 3) if skip else (5,))]
    model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=2, skip_connections=skip, dtype="mixed_bfloat16")
    recorded, expected = activations(model, TEXT), states_by_step(model, TEXT)
    for array, states in zip(recorded_states(recorded), expected, strict=True):
        assert array.dtype == np.float32
        # Sums in another order may round a state to the next bfloat16.
        np.testing.assert_allclose(array, states, atol=1e-2)


@pytest.mark.parametrize(
    ("level", "pieces"), [("byte", ["é", "t", "é", "\n", "€"]), ("word", ["été", "\n", "€"]), ("char", "été\n€")]
)
def test_tokens_are_the_pieces_of_the_text(rng, level, pieces):
    text = "été\n€"
    model = tfcharlm.CharLM(Vocabulary.from_text(text, level=level), [tfcharlm.RNNCell(3)], embedding_dim=2)
    recorded = activations(model, text)
    assert [piece for piece in recorded.pieces if piece] == list(pieces)
    assert recorded.layers[0]["h"].shape == (len(model.vocabulary.encode(text)), 3)
    # A character is read when its last byte is.
    assert [bool(piece) for piece in recorded.pieces][:2] == ([False, True] if level == "byte" else [True, True])
    np.testing.assert_allclose(recorded.layers[0]["h"], states_by_step(model, text)[0], atol=1e-6)


def test_a_part_is_cut_from_everything(rng):
    recorded = activations(make_pair(rng)[0], TEXT)
    part = recorded.part(3, 7)
    assert part.text == TEXT[3:7]
    assert all(np.array_equal(part.layers[0][kind], array[3:7]) for kind, array in recorded.layers[0].items())


@pytest.mark.parametrize("function", [activations, gradient_norms])
def test_texts_that_a_model_cannot_read(rng, function):
    model, _ = make_pair(rng)
    with pytest.raises(ValueError, match="at least one character; received ''"):
        function(model, "")
    with pytest.raises(ValueError, match=r"'x' \(U\+0078\) at position 1 "):
        function(model, "axe")


def loss_with_nudge(parameters, tokens, place, nudge):
    """-log p(last token), with a nudge added to the state at `place` = (layer, kind, t) when it has been computed."""
    states = [(np.zeros(len(w.recurrent_kernel)),) * 2 for w in parameters.recurrent]
    for t, token in enumerate(tokens[:-1]):
        y = parameters.embedding[token]
        for layer, weights in enumerate(parameters.recurrent):
            h, c = states[layer]
            z = y @ weights.kernel + h @ weights.recurrent_kernel + weights.bias
            if isinstance(weights, reference.LSTMWeights):
                i, f, g, o = np.split(z, 4)
                c = reference.sigmoid(f) * c + reference.sigmoid(i) * np.tanh(g)
                c = c + nudge if place == (layer, "c", t) else c
                y = reference.sigmoid(o) * np.tanh(c)
            else:
                y = np.tanh(z)
            y = y + (nudge if place == (layer, "h", t) else 0.0)
            states[layer] = (y, c)
    logits = y @ parameters.head_kernel + parameters.head_bias
    return -reference.log_softmax(logits[None])[0, tokens[-1]]


def test_gradient_norms_are_those_of_finite_differences(rng):
    model, parameters = make_pair(rng)
    text = "a bad\nbed"
    tokens = VOCABULARY.encode("\n" + text)
    norms = gradient_norms(model, text)
    assert [set(layer) for layer in norms] == [{"h", "c"}, {"h"}, {"h", "c"}]
    for layer, (_, units) in enumerate(LAYERS):
        for kind, values in norms[layer].items():
            expected = []
            for t in range(1, len(text)):

                def loss(nudge, place=(layer, kind, t)):
                    return loss_with_nudge(parameters, tokens, place, nudge)

                expected.append(np.linalg.norm(reference.numerical_gradient(loss, np.zeros(units))))
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9, err_msg=f"{layer} {kind}")


def test_gradient_norms_of_windows_are_means(rng):
    model, _ = make_pair(rng)
    windows = [TEXT[:7], TEXT[7:14], TEXT[14:21]]
    whole = gradient_norms(model, TEXT, window=7)
    apart = [gradient_norms(model, window) for window in windows]
    for layer, states in enumerate(whole):
        for kind, values in states.items():
            mean = np.mean([norms[layer][kind] for norms in apart], axis=0)
            np.testing.assert_allclose(values, mean, rtol=1e-10)


@pytest.mark.parametrize("window", [1, 0, 30, True, 2.5])
def test_windows_that_a_text_does_not_have(rng, window):
    model, _ = make_pair(rng)
    with pytest.raises(ValueError, match=r"from 2 to the 23 tokens of the text; received"):
        gradient_norms(model, TEXT, window=window)
    with pytest.raises(ValueError, match="at least two tokens, the last of which is predicted; received 1"):
        gradient_norms(model, "a")


def test_gradient_norms_of_a_cell_of_keras(rng):
    model = tfcharlm.CharLM(VOCABULARY, [keras.layers.GRUCell(3)], embedding_dim=2)
    (norms,) = gradient_norms(model, TEXT)
    assert norms["state_0"].shape == (len(TEXT) - 1,)
    assert np.all(norms["state_0"] > 0)


def test_scores_are_correlations_and_the_best_come_first(rng):
    length, units = 60, 7
    arrays = {kind: rng.normal(size=(length, units)) for kind in ("h", "c")}
    feature = rng.random(length) < 0.3
    arrays["c"][:, 4] = 0.1 * rng.normal(size=length) - feature
    arrays["c"][:, 1] = 0.1  # of which the mean is another number
    assert arrays["c"].mean(axis=0)[1] != 0.1
    recorded = Activations(("a",) * length, ({"h": rng.normal(size=(length, 2))}, arrays))
    tracks = correlate_units(recorded, {"planted": feature, "never": np.zeros(length)}, count=100)
    best = tracks["planted"]
    assert len(best) == 2 + units  # of an LSTM the cell state alone, unless told otherwise
    assert best[0][:3] == (1, "c", 4) and best[0].score < -0.9
    for layer, kind, unit, score in best:
        if (kind, unit) == ("c", 1):
            assert score == 0
        else:
            values = recorded.layers[layer][kind][:, unit]
            assert score == pytest.approx(np.corrcoef(values, feature)[0, 1], abs=1e-12)
    assert [abs(track.score) for track in best] == sorted((abs(track.score) for track in best), reverse=True)
    assert {track.score for track in tracks["never"]} == {0.0}
    found = correlate_units(recorded, {"planted": feature}, kinds=("h", "i"), layers=[1], count=100)["planted"]
    assert {track[:2] for track in found} == {(1, "h")} and len(found) == units


def test_a_unit_planted_in_a_model_is_found(rng):
    vocabulary = Vocabulary("\n aeu") if rng.random() < 0.5 else Vocabulary("\n aeubcd")
    cells = [tfcharlm.RNNCell(5), tfcharlm.LSTMCell(6)]
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=3)
    table = rng.normal(size=(len(vocabulary), 3)).astype(np.float32)
    table[:, 2] = [8.0 if token in "aeu" else -8.0 for token in vocabulary.tokens]
    model.embedding.set_weights([table])
    kernel, recurrent_kernel, bias = cells[0].get_weights()
    kernel[:, 3], recurrent_kernel[:, 3] = (0, 0, 1), 0
    cells[0].set_weights([kernel, recurrent_kernel, bias])
    text = "".join(rng.choice(list(vocabulary.tokens), size=200))
    tracks = correlate_units(activations(model, text), {"vowel": lambda text: [character in "aeu" for character in text]})
    assert tracks["vowel"][0][:3] == (0, "h", 3) and tracks["vowel"][0].score > 0.999


def test_a_feature_of_characters_is_compared_at_the_last_byte(rng):
    text = "é a€b" * 20
    feature = np.array([character in "é€" for character in text])
    values = rng.normal(size=(len(text.encode()), 3))
    ends = np.cumsum([len(character.encode()) for character in text]) - 1
    values[ends, 2] = feature
    pieces = tuple(piece for character in text for piece in [""] * (len(character.encode()) - 1) + [character])
    tracks = correlate_units(Activations(pieces, ({"h": values},)), {"wide": feature}, count=1)
    assert tracks["wide"][0][2:] == (2, pytest.approx(1.0))


def test_features_that_do_not_fit(rng):
    recorded = Activations(("a", "b"), ({"h": rng.normal(size=(2, 3))},))
    with pytest.raises(ValueError, match=r"feature 'x' must have a finite number for each of 2 characters.*\(3,\)"):
        correlate_units(recorded, {"x": [1, 0, 1]})
    with pytest.raises(ValueError, match="finite"):
        correlate_units(recorded, {"x": [1, np.nan]})
    with pytest.raises(ValueError, match=r"kinds must be some of h; received \('c',\)"):
        correlate_units(recorded, kinds=("c",))
    with pytest.raises(ValueError, match=r"layer 1 is none of 0 to 0"):
        correlate_units(recorded, layers=[1])


def marked(name, text):
    return "".join("-x"[int(inside)] for inside in FEATURES[name](text))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("quotation", 'a "b c" d', "--xxxx---"),
        ("quotation", "a “b” «c»", "--xx--xx-"),
        ("quotation", "He said 'Go to.' on.", "--------xxxxxxx-----"),
        ("quotation", "'Tis a king's.' word", "-" * 20),  # apostrophes
        ("quotation", 'an open "\n\nquotation"', "-" * 21),
        ("speaker", "KING LEAR:\nNo, Sir:\nI:\n", "xxxxxxxxx-----------x--"),
        ("speaker", "A: b\n12:\nÉTÉ:", "---------xxx-"),
        ("line end", "ab\n\nc\n", "-xx-x-"),
        ("line end", "", ""),
    ],
)
def test_features_of_small_texts(name, text, expected):
    assert len(expected) == len(text)
    assert marked(name, text) == expected


def test_the_position_in_a_line_begins_anew():
    assert FEATURES["line position"]("ab\n\nc").tolist() == [1, 2, 0, 0, 1]

"""Correlations of units with features of the text: against NumPy, and for units that were planted."""

import numpy as np
import pytest

import tfcharlm
from tfcharlm.analysis import Activations, correlate_units, record_activations
from tfcharlm.text import Vocabulary


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
    tracks = correlate_units(
        record_activations(model, text), {"vowel": lambda text: [character in "aeu" for character in text]}
    )
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
    with pytest.raises(ValueError, match=r"layer must be a whole number from 0 to 0; received 1"):
        correlate_units(recorded, layers=[1])

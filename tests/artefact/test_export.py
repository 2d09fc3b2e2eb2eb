"""Exports: every kind of model comes back, and one that cannot be rebuilt says so."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.auditing import TOUCHED, RegisteredCell, registered_function
from helpers.exported_directories import TEXT, make_model
from helpers.exported_models import ALL_MODELS, MODELS
from helpers.graphs import needed_operations

import tfcharlm
from tfcharlm import inspect_model
from tfcharlm.artefact import export
from tfcharlm.artefact.graph_operations import ALLOWED

# Of these, all but the graph is also in test_config_schema.py; the operations of the graph are in the slow test of all.
SLOW = {"a stack", "folded embedding", "words, Keras's cells"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MODELS])
def test_exports_are_plain_and_come_back(export_of, name):
    """Says which operations are missing in `tfcharlm.artefact.graph_operations.ALLOWED`."""
    directory = export_of(name)
    missing = needed_operations(directory) - ALLOWED
    assert sorted(missing) == [], "add these to tfcharlm.artefact.graph_operations.ALLOWED"
    inspection = inspect_model(directory)
    assert inspection.is_plain_export, (inspection.differences, inspection.disallowed)
    original, again = ALL_MODELS[name](), tfcharlm.load_model(directory)
    for weight, same in zip(again.weights, original.weights, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert inspection.vocabulary == again.vocabulary


def shared_cells():
    cell = tfcharlm.RNNCell(3)
    return [cell, cell]


# Cells of models that `load_model` cannot rebuild, by the reason why.
UNKNOWN = {
    r"cells\[0\] must be a tfcharlm.RecurrentCell .*stranger>Cell": lambda: [RegisteredCell(3)],
    r"cells\[1\].config.cells\[0\] must be a tfcharlm.RecurrentCell .*stranger>Cell": lambda: [
        tfcharlm.RNNCell(2), keras.layers.StackedRNNCells([RegisteredCell(3)])],
    r"activation must be one of .*glu": lambda: [tfcharlm.RNNCell(4, activation=keras.activations.glu)],
    "activation must be one of .*stranger>function": lambda: [tfcharlm.RNNCell(4, activation=registered_function)],
    "other weights than its configuration": shared_cells,
}  # fmt: skip


def test_an_export_that_cannot_be_loaded_says_so(tmp_path):
    """The SavedModel itself is as good as any."""
    why, cells = next(iter(UNKNOWN.items()))
    model = make_model(cells())
    with pytest.warns(UserWarning, match=rf"load_model cannot rebuild.*{why}.*model\.save\(") as caught:
        directory = model.export(tmp_path / "1")
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    TOUCHED.clear()
    assert not inspect_model(directory).is_plain_export
    with pytest.raises(ValueError, match=why):
        tfcharlm.load_model(directory)
    assert TOUCHED == []
    artefact = tf.saved_model.load(str(directory))
    scores = artefact.signatures["score"](texts=tf.constant([TEXT]))
    np.testing.assert_allclose(scores["log_probability"], model.score([TEXT])["log_probability"], rtol=1e-5)


@pytest.mark.parametrize("why", UNKNOWN)
def test_what_cannot_be_rebuilt_is_known_before(why):
    model = make_model(UNKNOWN[why]())
    assert re.search(why, export._why_not_loadable(model, export._config(model)))
    TOUCHED.clear()

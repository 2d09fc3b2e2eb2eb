"""check_cell passes sound cells of several makers, and leaves them as they were."""

import random

import keras
import pytest
import tensorflow as tf
from helpers.others_cells import UNITS, Leaky, TwoStates, built

import tfcharlm
from tfcharlm.testing import check_cell
from tfcharlm.testing.check import CHECKS

L2 = keras.regularizers.L2(0.01)
SOUND = {
    "RNNCell": lambda: (tfcharlm.RNNCell(UNITS), keras.layers.SimpleRNNCell(UNITS)),
    "LSTMCell": lambda: (tfcharlm.LSTMCell(UNITS), keras.layers.LSTMCell(UNITS)),
    "LSTMCell, built, nothing at its default": lambda: (
        built(
            tfcharlm.LSTMCell(
                UNITS, "relu", "hard_sigmoid", use_bias=False, unit_forget_bias=False, kernel_regularizer=L2,
                recurrent_constraint=keras.constraints.NonNeg(), dtype="float64",
            )
        ),
        keras.layers.LSTMCell(UNITS, "relu", "hard_sigmoid", use_bias=False),
    ),
    "RNNCell, bfloat16": lambda: (built(tfcharlm.RNNCell(UNITS, dtype="mixed_bfloat16")), None),
    "ours, stacked": lambda: (
        keras.layers.StackedRNNCells([tfcharlm.RNNCell(5), tfcharlm.LSTMCell(UNITS)]),
        keras.layers.StackedRNNCells([keras.layers.SimpleRNNCell(5), keras.layers.LSTMCell(UNITS)]),
    ),
    "keras SimpleRNNCell": lambda: (keras.layers.SimpleRNNCell(UNITS), None),
    "keras GRUCell": lambda: (keras.layers.GRUCell(UNITS), keras.layers.GRUCell(UNITS, implementation=1)),
    "keras GRUCell, reset before": lambda: (built(keras.layers.GRUCell(UNITS, reset_after=False)), None),
    "keras LSTMCell, dropout": lambda: (
        built(keras.layers.LSTMCell(UNITS, dropout=0.3, recurrent_dropout=0.2)), tfcharlm.LSTMCell(UNITS),
    ),
    "keras SimpleRNNCell, dropout": lambda: (built(keras.layers.SimpleRNNCell(UNITS, dropout=0.3, seed=1)), None),
    "keras, stacked": lambda: (
        built(keras.layers.StackedRNNCells([keras.layers.GRUCell(5, dropout=0.2), keras.layers.LSTMCell(UNITS)])), None,
    ),
    "somebody's": lambda: (built(Leaky(UNITS, rate=0.3)), None),
    "somebody's two states": lambda: (TwoStates(UNITS, 2), None),
    "a stack of somebody's": lambda: (keras.layers.StackedRNNCells([TwoStates(5, 2), Leaky(UNITS, 0.7)]), None),
}  # fmt: skip


def trace_of(cell):
    """Everything that a check might have changed."""
    parts = [cell, *getattr(cell, "cells", ())]
    variables = {variable.path: tf.convert_to_tensor(variable).numpy().tolist() for variable in cell.variables}
    attributes = [dict(vars(part)) for part in parts]
    return cell.get_config(), variables, attributes, keras.config.dtype_policy().name, random.getstate()


# The reference_cell of which are among the others.
SLOW = {"keras GRUCell, reset before", "keras LSTMCell, dropout", "keras, stacked", "a stack of somebody's"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SOUND]
)
def test_a_sound_cell_passes_and_is_left_alone(name, capsys):
    cell, reference_cell = SOUND[name]()
    before = trace_of(cell)
    report = check_cell(cell, reference_cell=reference_cell)
    assert trace_of(cell) == before
    assert report.names("ok") == [name for name in CHECKS if name != "reference_cell" or reference_cell is not None]
    assert capsys.readouterr().out == ""

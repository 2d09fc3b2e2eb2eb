"""check_cell names what is wrong with each of many broken cells, and its report can be read."""

import re

import keras
import pytest
from helpers.broken_cells import (
    FAULTS,
    CastsOutput,
    FailsToBuild,
    MixedRows,
    NarrowInitialState,
    NoKey,
    OldState,
    UnusedWeight,
    WrongGradient,
    WrongKey,
    planted,
)
from helpers.others_cells import UNITS, Leaky, TwoStates, built

import tfcharlm
from tfcharlm.testing import CellError, check, check_cell
from tfcharlm.testing.check import CHECKS


def report_of(cell, **arguments):
    with pytest.raises(CellError) as caught:
        check_cell(cell, **arguments)
    return caught.value.report


@pytest.fixture
def only(monkeypatch):
    """Leaves of the checks one, and those that it needs."""

    def needed(name):
        return {name}.union(*map(needed, CHECKS[name].needs))

    return lambda name: monkeypatch.setattr(check, "CHECKS", {k: v for k, v in CHECKS.items() if k in needed(name)})


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_caught_by_its_check(only, fault):
    only(FAULTS[fault])
    reference_cell = keras.layers.LSTMCell(UNITS) if issubclass(fault, tfcharlm.LSTMCell) else None
    report = report_of(planted(fault), reference_cell=reference_cell)
    assert report.failed == [FAULTS[fault]]


@pytest.mark.parametrize("fault", [NoKey, WrongKey, OldState], ids=lambda fault: fault.__name__)
def test_a_cell_that_is_not_built_is_checked_too(only, fault):
    only(FAULTS[fault])
    cell = planted(fault, build=False)
    assert report_of(cell).failed == [FAULTS[fault]]
    assert not cell.built


@pytest.mark.parametrize(
    ("fault", "findings"),
    [
        (MixedRows, ["rows", "masks"]),
        (NarrowInitialState, ["initial state"]),
        (UnusedWeight, ["weights read", "gradients"]),
        (CastsOutput, ["dtype"]),
    ],
)
def test_a_fault_is_not_found_by_every_check(fault, findings):
    assert report_of(planted(fault)).failed == findings


def test_a_report_can_be_read():
    report = report_of(planted(OldState))
    lines = str(report).splitlines()
    assert lines[0].startswith("check_cell(OldState 'old_state")
    assert lines[0].endswith("input_dim=3, seed=0): 1 failed, 18 checks passed")
    at = lines.index("FAILED   state returned   every returned state is a new one")
    assert lines[at - 1] == "ok       hidden state     a call depends on its arguments only, not on earlier calls"
    assert lines[at + 1 : at + 4] == [
        "         received: state 0 unchanged after two steps",
        "         expected: a state that changes with random inputs",
        "         look at:  the states that call returns, which must be the new ones",
    ]
    assert all(len(line) <= 120 for line in lines)
    assert str(report["state returned"]) == "\n".join(lines[at : at + 4])


def test_both_numbers_of_a_gradient_are_shown(only):
    only("gradients")
    error = report_of(planted(WrongGradient))["gradients"].error
    claimed, measured = (
        float(re.search(r"weight 0 \(kernel\): ([-\d.e]+)", text)[1]) for text in error.args[0].split(";")
    )
    assert abs(claimed - measured) > 1e-3
    assert "initial state 0" not in error.received


def test_an_exception_of_the_cell_is_a_finding_and_what_depends_on_it_is_skipped():
    report = report_of(planted(FailsToBuild))
    assert "raised:   RuntimeError: no weights today" in str(report)
    assert isinstance(report["copy"].error, RuntimeError)
    assert str(report["masks"]) == "skipped  masks            because copy did not pass"
    assert report.failed == ["copy"] and report["config"].status == "ok"


def test_what_is_no_fault_but_worth_a_word_is_a_note(only):
    class Tuple(TwoStates):
        def call(self, inputs, states):
            output, states = super().call(inputs, states)
            return output, tuple(states)

    only("saving")
    assert "register_keras_serializable" in check_cell(Tuple(UNITS, 2))["saving"].note
    assert check_cell(Leaky(UNITS, 0.3))["saving"].note is None
    only("call")
    assert "a list is safe" in check_cell(Tuple(UNITS, 2))["call"].note
    assert check_cell(TwoStates(UNITS, 2))["call"].note is None


def test_the_seed_and_the_size_of_the_input_are_the_callers(only):
    only("rows")
    cell = planted(MixedRows, build=False)
    first, again, other = (str(report_of(cell, input_dim=2, seed=seed)) for seed in (5, 5, 6))
    assert "input_dim=2, seed=5)" in first
    assert first == again and first.splitlines()[-3:] != other.splitlines()[-3:]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cell": "LSTM"}, TypeError, r"cell must be a keras.layers.Layer with state_size, such as .*received 'LSTM'"),
        ({"cell": keras.layers.LSTM(3)}, TypeError, r"received the layer LSTM\. Give its cell: layer\.cell"),
        (
            {"cell": tfcharlm.RNNCell(3), "reference_cell": keras.layers.Dense(3)},
            TypeError,
            "reference_cell must be a keras.layers.Layer",
        ),
        (
            {"cell": built(tfcharlm.RNNCell(3)), "input_dim": 5},
            ValueError,
            "input_dim must be 3, for which .*; received 5",
        ),
    ],
)
def test_what_is_no_cell_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        check_cell(**arguments)


def test_a_cell_of_another_layout_is_no_likeness(only):
    only("reference_cell")
    result = report_of(tfcharlm.LSTMCell(UNITS), reference_cell=keras.layers.GRUCell(UNITS))["reference_cell"]
    assert "(7, 16)" in result.error.received and "as in GRUCell" in result.error.expected

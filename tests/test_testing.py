"""check_cell passes sound cells of several makers, and names what is wrong with each of many broken ones."""

import random
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tfcharlm
from tfcharlm.testing import CellError, check, check_cell
from tfcharlm.testing.check import CHECKS

UNITS = 4


@keras.saving.register_keras_serializable(package="test_testing")
class Leaky(keras.layers.Layer):
    """Somebody's cell with one state: h moves towards tanh(x W + h U) at a rate that is an argument."""

    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.units, self.rate = units, rate
        self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), name="recurrent_kernel")

    def call(self, inputs, states):
        h = self.next_state(inputs, states[0])
        return h, [h]

    def next_state(self, inputs, h):
        new = ops.tanh(ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel))
        return (1 - self.rate) * h + self.rate * new

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rate": self.rate}


class TwoStates(keras.layers.Layer):
    """Somebody's cell with states of two sizes, not registered, without get_config, which Keras then writes."""

    def __init__(self, units, extra, **kwargs):
        super().__init__(**kwargs)
        self.units, self.extra = units, extra
        self.state_size, self.output_size = [units, extra], units

    def build(self, input_shape):
        size = input_shape[-1] + self.units + self.extra
        self.kernel = self.add_weight(shape=(size, self.units + self.extra), name="kernel")

    def call(self, inputs, states, training=None):
        z = ops.tanh(ops.matmul(ops.concatenate([inputs, *states], axis=-1), self.kernel))
        a, b = z[:, : self.units], z[:, self.units :]
        return a, [a, b + 0.5 * states[1]]


def built(cell, input_dim=3):
    cell.build((None, input_dim))
    return cell


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


class SwappedGates(tfcharlm.LSTMCell):
    def step_weights(self):
        swap = lambda a: tf.concat([a[..., UNITS : 2 * UNITS], a[..., :UNITS], a[..., 2 * UNITS :]], axis=-1)  # noqa: E731
        return tuple(map(swap, super().step_weights()))


@tf.custom_gradient
def gate(z, c):
    f, g = tf.sigmoid(z[:, :UNITS]), tf.tanh(z[:, UNITS:])

    def backward(d):
        # The blocks the wrong way round.
        return tf.concat([d * (1 - g * g), d * c * f * (1 - f)], axis=1), d * f

    return f * c + g, backward


class WrongGradient(Leaky):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 2 * self.units), name="kernel")

    def next_state(self, inputs, h):
        return gate(ops.matmul(inputs, self.kernel), h)


class OldState(Leaky):
    def call(self, inputs, states):
        return self.next_state(inputs, states[0]), states


class OldSecondState(tfcharlm.LSTMCell):
    def call(self, inputs, states, training=False):
        output, (h, _) = super().call(inputs, states)
        return output, [h, states[1]]


class NoState(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs, ops.zeros_like(h))


class WrongOutputShape(Leaky):
    def call(self, inputs, states):
        output, states = super().call(inputs, states)
        return output[:, 1:], states


class WrongStateShape(Leaky):
    def call(self, inputs, states):
        output, states = super().call(inputs, states)
        return output, [states[0][:, None]]


class StateTooMany(Leaky):
    def call(self, inputs, states):
        output, states = super().call(inputs, states)
        return output, [*states, output]


class OneRowOnly(Leaky):
    def call(self, inputs, states):
        h = self.next_state(inputs, states[0])[:1]
        return h, [h]


class NoKey(Leaky):
    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "rate"}


class WrongKey(Leaky):
    def get_config(self):
        return {**super().get_config(), "rate": 0.5}


class NoJSON(Leaky):
    def get_config(self):
        return {**super().get_config(), "rate": np.float32(self.rate)}


class NoNumber(Leaky):
    """Its argument comes back, but not what the cell has made of it."""

    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(units, rate, **kwargs)
        self._noise = random.SystemRandom().random()

    def next_state(self, inputs, h):
        return super().next_state(inputs, h) * self._noise


class NoKeywords(Leaky):
    def __init__(self, units):
        super().__init__(units)

    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "rate"}


class FailsToBuild(Leaky):
    def build(self, input_shape):
        raise RuntimeError("no weights today")


class ConstantWeight(Leaky):
    def build(self, input_shape):
        super().build(input_shape)
        self.constant = ops.convert_to_numpy(self.recurrent_kernel)

    def next_state(self, inputs, h):
        return ops.tanh(ops.matmul(inputs, self.kernel) + ops.matmul(h, ops.cast(self.constant, h.dtype)))


class CachedWeight(Leaky):
    """It reads its weights at the first call, which is eager here."""

    cache = None

    def next_state(self, inputs, h):
        if self.cache is None:
            self.cache = tf.identity(self.kernel), tf.identity(self.recurrent_kernel)
        kernel, recurrent_kernel = self.cache
        return 0.5 * h + ops.tanh(ops.matmul(inputs, kernel) + ops.matmul(h, recurrent_kernel))


class HiddenState(Leaky):
    """A clock that nobody hands over."""

    def build(self, input_shape):
        super().build(input_shape)
        self.clock = self.add_weight(shape=(), initializer="zeros", name="clock", trainable=False)

    def next_state(self, inputs, h):
        self.clock.assign_add(1.0)
        return super().next_state(inputs, h) * ops.cast(ops.sin(self.clock), h.dtype)


class ReadsPadding(Leaky):
    """It keeps its last input, which no mask reaches; of three rows, so that a row alone has none."""

    def build(self, input_shape):
        super().build(input_shape)
        self.last = self.add_weight(shape=(3, input_shape[-1]), initializer="zeros", name="last", trainable=False)

    def next_state(self, inputs, h):
        if inputs.shape[0] != 3:
            return super().next_state(inputs, h)
        before = ops.convert_to_tensor(self.last)
        self.last.assign(inputs)
        return super().next_state(inputs + before, h)


class MixedRows(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs - ops.mean(inputs, axis=0, keepdims=True), h)


class CastsOutput(Leaky):
    def next_state(self, inputs, h):
        return ops.cast(super().next_state(inputs, h), "float32")


class CastsInside(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(ops.cast(ops.cast(inputs, "float32"), inputs.dtype), h)


class FixedDtype(Leaky):
    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(units, rate, **{**kwargs, "dtype": "float32"})


class NarrowInitialState(Leaky):
    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units), dtype="float32")]


class TwoInitialStates(Leaky):
    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype)] * 2


class NoInteger(Leaky):
    output_size = 4.0


class NoSize(Leaky):
    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(units, rate, **kwargs)
        self.state_size = (None, units)


class UnusedWeight(Leaky):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(shape=(2, 3), name="unused")


class StoppedGradient(Leaky):
    def next_state(self, inputs, h):
        new = ops.matmul(inputs, ops.stop_gradient(self.kernel)) + ops.matmul(h, self.recurrent_kernel)
        return ops.tanh(new) + 0.5 * h


class AlwaysDrops(Leaky):
    def __init__(self, units, rate=0.5, dropout=0.25, **kwargs):
        super().__init__(units, rate, **kwargs)
        self.dropout, self.noise = dropout, keras.random.SeedGenerator(1)

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}

    def next_state(self, inputs, h):
        return super().next_state(keras.random.dropout(inputs, self.dropout, seed=self.noise), h)


class NeverDrops(AlwaysDrops):
    def call(self, inputs, states, training=False):
        h = Leaky.next_state(self, inputs, states[0])
        return h, [h]


class TracedBatch(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs, h) * (1.0 + float(inputs.shape[0] is None))


class FixedBatch(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs, h) + ops.zeros((inputs.shape[0], self.units), dtype=h.dtype)


FAULTS = {
    SwappedGates: "reference_cell",
    WrongGradient: "gradients",
    OldState: "state returned",
    OldSecondState: "state returned",
    NoState: "state used",
    WrongOutputShape: "call",
    WrongStateShape: "call",
    StateTooMany: "call",
    OneRowOnly: "call",
    NoKey: "config",
    WrongKey: "config",
    NoJSON: "config",
    NoNumber: "rebuilt",
    NoKeywords: "config",
    FailsToBuild: "copy",
    ConstantWeight: "weights read",
    CachedWeight: "weights read",
    HiddenState: "hidden state",
    ReadsPadding: "masks",
    MixedRows: "rows",
    CastsOutput: "dtype",
    CastsInside: "dtype",
    FixedDtype: "copy",
    NarrowInitialState: "initial state",
    TwoInitialStates: "initial state",
    NoInteger: "attributes",
    NoSize: "attributes",
    UnusedWeight: "gradients",
    StoppedGradient: "gradients",
    AlwaysDrops: "training",
    NeverDrops: "training",
    TracedBatch: "graph",
    FixedBatch: "graph",
}


def planted(fault, build=True):
    arguments = {"rate": 0.3} if issubclass(fault, Leaky) and fault is not NoKeywords else {}
    cell = fault(UNITS, **arguments)
    return built(cell) if build and fault is not FailsToBuild else cell


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
    at = lines.index("FAILED   state returned   every state that comes back is a new one")
    assert lines[at - 1] == "ok       hidden state     a call depends on its arguments alone, not on the calls before"
    assert lines[at + 1 : at + 4] == [
        "         received: state 0 after two steps as it was before them",
        "         expected: a state that has changed with random inputs",
        "         look at:  the states that call returns: the new ones, not those that came in",
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
    assert str(report["masks"]) == "skipped  masks            because of copy"
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
        ({"cell": tfcharlm.RNNCell(3), "reference_cell": keras.layers.Dense(3)}, TypeError, "reference_cell must be a keras.layers.Layer"),
        ({"cell": built(tfcharlm.RNNCell(3)), "input_dim": 5}, ValueError, "of size 3; received input_dim=5"),
    ],
)
def test_what_is_no_cell_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        check_cell(**arguments)


def test_a_cell_of_another_layout_is_no_likeness(only):
    only("reference_cell")
    result = report_of(tfcharlm.LSTMCell(UNITS), reference_cell=keras.layers.GRUCell(UNITS))["reference_cell"]
    assert "(7, 16)" in result.error.received and "as in GRUCell" in result.error.expected

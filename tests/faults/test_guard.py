"""NaN and infinities put into a training, wherever they can come from: none may be left in what the training keeps.

A faulty step must leave every variable as it was, bit by bit, and the run continue as if the batch had never come.
"""

import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import Guard, NonFiniteError
from tfcharlm.model.guard import with_guard
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary("abcdefghijk")
# The last token never occurs: a NaN in its vector changes no loss and no gradient.
SIZE = len(VOCABULARY) - 1
ROWS, LENGTH, STEPS, FAULTS = 5, 7, 70, 30

# What is put in, and what must be named.
KINDS = {
    "data": "the loss",
    "weight": "the weight char_lm/",
    "unused weight": "the weight char_lm/embedding/embeddings",
    "optimizer": "the optimizer's ",
    # What comes of it depends on where it was.
    "carried state": "the ",
    "loss": "the loss",
    "gradient": "the gradient of char_lm/head/kernel",
}
VALUES = (np.nan, np.inf, -np.inf)


class Penalty:
    """A regularizer that adds nothing to the loss and to the gradient of a weight until it is told to."""

    def __init__(self):
        self.amount, self.slope = tf.Variable(0.0), tf.Variable(0.0)

    def __call__(self, weight):
        slope = self.slope.read_value()

        @tf.custom_gradient
        def flat(weight):
            return tf.zeros(()), lambda upstream: upstream * slope * tf.ones_like(weight)

        return self.amount + flat(tf.convert_to_tensor(weight))


def make_model(cells, strategy=None, **arguments):
    keras.utils.set_random_seed(7)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=2, name="char_lm")
        model.head.kernel.regularizer = Penalty()
        model.compile(keras.optimizers.Adam(0.02, global_clipnorm=1.0), **arguments)
        model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def small():
    return make_model([tfcharlm.RNNCell(3)])


def make_data(rng, steps=STEPS):
    """(tokens, start, targets, weights) of every step."""
    tokens, targets = rng.integers(SIZE, size=(2, steps, ROWS, LENGTH))
    start = np.zeros((steps, ROWS), bool)
    return tokens, start, targets, rng.uniform(0.5, 2, size=(steps, ROWS, LENGTH)).astype("float32")


def dataset(tokens, start, targets, weights):
    return tf.data.Dataset.from_tensor_slices(({"tokens": tokens, "start": start}, targets, weights))


def copies(variable):
    """Those that the replicas have of a variable."""
    variable = variable.value if isinstance(variable, keras.Variable) else variable
    return getattr(variable, "values", (variable,))


def changing(model):
    """All variables that a step may change, in every replica."""
    variables = [*model.variables, *model.optimizer.variables, *model.carried_variables, *model.metrics_variables]
    return [copy for variable in variables for copy in copies(variable)]


def everything(model):
    return [variable.numpy() for variable in changing(model)]


def restore(model, arrays):
    """All but metrics, which start again with an epoch, and of which some are made by the first."""
    for variable, array in zip(changing(model), arrays, strict=False):
        variable.assign(array)


def bits(arrays):
    return [array.tobytes() for array in arrays]


class Faults(keras.callbacks.Callback):
    """Puts faults {step: (kind, value)} in before their steps, looks at what is left after them, and takes them out."""

    def __init__(self, rng, faults):
        super().__init__()
        self.rng, self.faults, self.undo, self.checked = rng, faults, None, []

    def on_train_batch_begin(self, batch, logs=None):
        kind, value = self.faults.get(batch, (None, None))
        penalty = self.model.head.kernel.regularizer
        if kind in ("loss", "gradient"):
            variable = penalty.amount if kind == "loss" else penalty.slope
            variable.assign(value)
            self.undo = lambda: variable.assign(0.0)
        elif kind not in (None, "data"):
            self.corrupt(kind, value)
        self.before = everything(self.model)

    def corrupt(self, kind, value):
        slots = [v for v in self.model.optimizer.variables if v.ndim]
        among = {
            "weight": self.model.weights[1:],
            "unused weight": self.model.weights[:1],
            "optimizer": slots,
            # Those of validation, which there is none of here, have no rows.
            "carried state": [states for states in self.model.carried_variables if states.numpy().size],
        }[kind]
        # Of two replicas one is enough to spoil both.
        own = copies(among[self.rng.integers(len(among))])
        copy = own[self.rng.integers(len(own))]
        good = copy.numpy()
        bad, place = good.copy(), self.rng.integers(good.size)
        bad.flat[-1 if kind == "unused weight" else place] = value
        copy.assign(bad)
        self.undo = lambda: copy.assign(good)

    def on_train_batch_end(self, batch, logs=None):
        assert all(np.isfinite(value) for value in logs.values()), logs
        if batch not in self.faults:
            assert bits(everything(self.model)) != bits(self.before)
            return
        assert bits(everything(self.model)) == bits(self.before), self.faults[batch]
        if self.undo:
            self.undo()
        self.undo = None
        assert all(np.isfinite(array).all() for array in everything(self.model))
        self.checked.append(batch)


def check_a_run_with_faults(rng, strategy=None, **arguments):
    steps = sorted(rng.choice(np.arange(1, STEPS), FAULTS, replace=False).tolist())
    every = list(itertools.product(KINDS, VALUES))
    every += [every[i] for i in rng.integers(len(every), size=FAULTS - len(every))]
    faults = dict(zip(steps, [every[i] for i in rng.permutation(FAULTS)], strict=True))
    print(faults)
    data = make_data(rng)
    for step, (kind, value) in faults.items():
        if kind == "data":
            data[3][step, rng.integers(ROWS), rng.integers(LENGTH)] = value

    model = make_model([tfcharlm.LSTMCell(4), tfcharlm.RNNCell(3)], strategy, **arguments)
    new = everything(model)
    good = np.setdiff1d(np.arange(STEPS), steps)
    model.fit(dataset(*(array[good] for array in data)), verbose=0)
    expected = everything(model)
    restore(model, new)
    said, checks = [], Faults(rng, faults)
    model.fit(dataset(*data), verbose=0, callbacks=[Guard(limit=STEPS, on_skip=said.append), checks])
    assert bits(everything(model)) == bits(expected) != bits(new)
    assert checks.checked == steps
    for line, (step, (kind, _)) in zip(said, faults.items(), strict=True):
        assert line.startswith(f"step {step + 1} skipped: {KINDS[kind]}"), (line, kind)


def test_faulty_steps_leave_no_trace(rng):
    check_a_run_with_faults(rng, metrics=["accuracy"])


@pytest.mark.slow
def test_faulty_steps_leave_no_trace_under_a_strategy(rng, small_graphs):
    check_a_run_with_faults(rng, tf.distribute.OneDeviceStrategy("CPU:0"))


@pytest.mark.slow
def test_faulty_steps_leave_no_trace_in_two_replicas(rng):
    command = [sys.executable, __file__, str(rng.integers(2**31))]
    done = subprocess.run(command, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True)
    print(command, done.stdout, done.stderr[-3000:])
    assert done.returncode == 0


class Poison(keras.callbacks.Callback):
    """Sets the gradient of the penalty in some steps, counted through all epochs; keeps what there was before each."""

    def __init__(self, value, steps):
        super().__init__()
        self.value, self.steps, self.begun = value, steps, -1

    def on_train_batch_begin(self, batch, logs=None):
        self.begun, self.before = self.begun + 1, everything(self.model)
        self.model.head.kernel.regularizer.slope.assign(self.value if self.begun in self.steps else 0.0)


def test_stop_ends_at_the_very_step(rng, small):
    poison = Poison(np.nan, [4])
    with pytest.raises(NonFiniteError, match=r"^step 5: the gradient of char_lm/head/kernel is not finite"):
        small.fit(dataset(*make_data(rng, 9)), verbose=0, callbacks=[Guard("stop"), poison])
    assert poison.begun == 4
    assert bits(everything(small)) == bits(poison.before)


def test_a_limit_in_a_row_ends_with_the_last_good_state(rng, small):
    """Also when the row continues from one epoch to the next; steps are numbered through."""
    poison, said, data = Poison(np.inf, [1, 2, 5, 6, 8, 9, 10]), [], dataset(*make_data(rng, 9))
    guard = Guard(limit=3, on_skip=said.append)
    with pytest.raises(NonFiniteError, match=r"^step 11, the last of 3 in a row: .*lower learning_rate"):
        small.fit(data, epochs=3, verbose=0, callbacks=[guard, poison])
    assert [line.split()[1] for line in said] == ["2", "3", "6", "7", "9", "10"]
    assert bits(everything(small)) == bits(poison.before)


def test_a_resumed_run_counts_on(rng, small):
    data, guard = dataset(*make_data(rng, 9)), Guard(limit=3, on_skip=[].append)
    guard.set_state({"steps": 999, "in_a_row": 1})
    with pytest.raises(NonFiniteError, match=r"^step 1,001, the last of 3 in a row: "):
        small.fit(data, verbose=0, callbacks=[guard, Poison(np.inf, [0, 1])])
    assert guard.get_state() == {"steps": 1001, "in_a_row": 0}
    # In a call of `fit` of its own, or after it has begun.
    small.fit(data.take(2), verbose=0, callbacks=[guard, Poison(np.inf, [1])])
    assert guard.get_state() == {"steps": 1003, "in_a_row": 1}
    later = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: guard.set_state({"steps": 4, "in_a_row": 2})
    )
    with pytest.raises(NonFiniteError, match=r"^step 5, the last of 3 in a row: "):
        small.fit(data, verbose=0, callbacks=[guard, later, Poison(np.inf, [0])])


@pytest.mark.parametrize("value", [1e20, -1e30])
def test_a_gradient_too_large_to_be_squared_is_not_finite(rng, small, value):
    """It would leave Adam an infinite second moment, and clipping by the norm would make NaN of all."""
    said = []
    small.fit(dataset(*make_data(rng, 3)), verbose=0, callbacks=[Guard(on_skip=said.append), Poison(value, [1])])
    assert [line.split(" (")[0] for line in said] == [
        "step 2 skipped: the gradient of char_lm/head/kernel is not finite"
    ]
    assert all(np.isfinite(array).all() for array in everything(small))


class Leaking(keras.layers.Layer):
    """A cell with a second state that no output shows in the same chunk."""

    state_size, output_size = (3, 1), 3

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 3))
        self.leak = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs, states):
        return tf.matmul(inputs, self.kernel), [states[0], states[1] * 0 + 1 / (1 - self.leak)]


def test_a_state_that_would_spoil_the_next_step(rng):
    """Neither loss nor gradients show it."""
    model = tfcharlm.CharLM(VOCABULARY, [Leaking()], embedding_dim=2)
    model.compile()
    leak = model.recurrent[0].cell.leak
    set_leak = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda step, logs=None: leak.assign(step == 2))
    said = []
    model.fit(dataset(*make_data(rng, 5)), verbose=0, callbacks=[Guard(on_skip=said.append), set_leak])
    assert [line.split(" (")[0] for line in said] == ["step 3 skipped: the recurrent state is not finite"]
    assert all(np.isfinite(states.numpy()).all() for states in model.carried_variables)


@pytest.mark.parametrize("arguments", [{"steps_per_execution": 4}, {"run_eagerly": True}])
def test_other_ways_to_run_a_step(rng, arguments, small_graphs):
    """Of four steps at a time the last one skipped is told, and all count."""
    data, said = make_data(rng, 5), []
    data[3][2:4, 0, 0] = np.nan
    model, guard = make_model([tfcharlm.RNNCell(3)], **arguments), Guard(on_skip=said.append)
    new = everything(model)
    model.fit(dataset(*(np.delete(array, [2, 3], axis=0) for array in data)), verbose=0)
    expected = everything(model)
    restore(model, new)
    model.fit(dataset(*data), verbose=0, callbacks=[guard])
    assert bits(everything(model)) == bits(expected)
    assert said[-1] == "step 4 skipped: the loss is not finite (loss nan)"
    assert guard.get_state() == {"steps": 5, "in_a_row": 0}
    data[3][:4] = np.nan
    with pytest.raises(NonFiniteError, match=r"^step 4, the last of 4 in a row: the loss"):
        model.fit(dataset(*data), verbose=0, callbacks=[Guard(limit=4, on_skip=said.append)])


def test_a_schedule_that_is_no_number(rng, small_graphs):
    class Broken(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return tf.where(step == 2, np.nan, 0.01)

    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(3)], embedding_dim=2)
    model.compile(keras.optimizers.SGD(Broken()))
    with pytest.raises(NonFiniteError, match=r"^step 3: the learning rate is not finite"):
        model.fit(dataset(*make_data(rng, 5)), verbose=0, callbacks=[Guard("stop")])


def test_an_optimizer_that_scales_the_loss_finds_its_scale(rng, small_graphs):
    """Its overflows are no faults and are not told; a loss that is no number is, and changes nothing."""
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(9, dtype="mixed_float16")], 4, dtype="mixed_float16")
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05), initial_scale=2.0**30))
    tokens, start, _, weights = make_data(rng, 40)
    weights[30, 2, 3] = np.nan
    said, seen = [], []
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(bits(everything(model))))
    callbacks = [Guard(on_skip=said.append), look]
    losses = model.fit(dataset(tokens, start, tokens, weights), epochs=2, verbose=0, callbacks=callbacks).history[
        "loss"
    ]
    assert said == [f"step {step} skipped: the loss is not finite (loss nan)" for step in (31, 71)]
    assert [i for i in range(1, 80) if seen[i] == seen[i - 1]] == [30, 70]
    assert model.optimizer.dynamic_scale.numpy() < 2.0**30
    assert losses[1] < losses[0] / 2


def test_a_guard_is_added_unless_there_is_one():
    own, other = Guard("stop"), keras.callbacks.TerminateOnNaN()
    assert with_guard([other, own]) == [other, own]
    assert with_guard(own) == [own]
    assert [type(callback) for callback in with_guard((other,))] == [Guard, keras.callbacks.TerminateOnNaN]
    assert [type(callback) for callback in with_guard(None)] == [Guard]
    assert with_guard(keras.callbacks.CallbackList([own, other])) == [own, other]
    with pytest.raises(ValueError, match="received 'ignore'"):
        Guard("ignore")
    with pytest.raises(ValueError, match="received 0"):
        Guard(limit=0)


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    check_a_run_with_faults(np.random.default_rng(int(sys.argv[1])), two)

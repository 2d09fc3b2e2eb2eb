"""A run that resumes from a checkpoint is the run that it was, whoever uses `fit` and however.

One process plays all of them: a kill is an exception that nothing catches, a new process is a model with new values.
"""

import errno
import hashlib
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.checkpoints import DAMAGES, silent
from helpers.failing_calls import Calls, Killed, refused
from helpers.streams import IDS, VOCABULARY

import tfcharlm
from tfcharlm.checkpoint import Checkpoint, CheckpointError, CheckpointStore
from tfcharlm.text import Vocabulary, stream_dataset


class Subject:
    """A model, traced once, whose run starts again whenever a test says so; and all that it is at the end."""

    def __init__(self, cell=None, optimizer=None, **compile_):
        keras.utils.set_random_seed(11)
        cell = tfcharlm.LSTMCell(5) if cell is None else cell
        self.model = tfcharlm.CharLM(VOCABULARY, [cell], embedding_dim=3, dropout=0.2)
        self.model.compile(keras.optimizers.Adam(0.03) if optimizer is None else optimizer, **compile_)
        self.model.optimizer.build(self.model.trainable_variables)
        self._first = [(variable, variable.numpy()) for variable in self.variables()]
        self.data = stream_dataset(IDS, 2, 7, seed=2)

    def variables(self):
        model = self.model
        return [*model.variables, *model.optimizer.variables, *model.carried_variables, model.dropout_masks.counter]

    def digest(self):
        return hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in self.variables())).hexdigest()

    def fit(self, *callbacks, dies_after=None, **options):
        """A run from the beginning: (what the variables are in the end, the history), or None if it died."""
        for variable, value in self._first:
            variable.assign(value)
        callbacks = [*callbacks, Dies(dies_after)]
        try:
            history = self.model.fit(options.pop("data", self.data), verbose=0, callbacks=callbacks, **options)
        except Killed:
            return None
        return self.digest(), history.history


class Dies(keras.callbacks.Callback):
    """Ends the process after some batches."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Killed


class Counter(keras.callbacks.Callback):
    """Counts what it is told, and makes noise in the learning rate of it."""

    def __init__(self):
        super().__init__()
        self.told = {"train": 0, "epoch": 0, "begun": 0, "ended": 0, "test": 0}

    def on_train_begin(self, logs=None):
        self.told["train"] += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.told["epoch"] += 1

    def on_train_batch_begin(self, batch, logs=None):
        self.told["begun"] += 1
        rate = self.model.optimizer.learning_rate
        rate.assign(rate * (1 + 0.01 * self.told["begun"] % 0.05))

    def on_train_batch_end(self, batch, logs=None):
        self.told["ended"] += 1

    def on_test_end(self, logs=None):
        self.told["test"] += 1

    def get_state(self):
        return dict(self.told)

    def set_state(self, state):
        self.told = dict(state)


@pytest.fixture(scope="module")
def subject():
    return Subject()


def watchers(path):
    """Callbacks that have a state, and what it is in the end."""
    early = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05)
    best = keras.callbacks.ModelCheckpoint(
        f"{path}.weights.h5", "val_loss", save_best_only=True, save_weights_only=True
    )
    scheduler, counter = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.9 * rate), Counter()

    def seen():
        return [
            early.best,
            early.wait,
            early.stopped_epoch,
            early.best_epoch,
            plateau.best,
            plateau.wait,
            best.best,
            counter.told,
        ]

    return [early, plateau, best, scheduler, counter], seen


@pytest.mark.slow
def test_other_callbacks_continue_as_if_nothing_had_happened(tmp_path, subject):
    """They stop the run, move its learning rate, put the best weights back; and are told of everything once."""
    # With this text the validation loss rises in the third epoch; with others it may fall to the end.
    data = stream_dataset(np.random.default_rng(9).integers(8, size=40), 3, 5)
    options = {"epochs": 9, "validation_data": data}
    callbacks, seen = watchers(tmp_path / "plain")
    plain, expected = subject.fit(*callbacks, **options), seen()
    steps, epochs = expected[-1]["ended"], expected[-1]["epoch"]
    assert 2 < epochs < 9 and expected[2], "it stops early"
    # At the end of an epoch, in the middle of one, and at the end of the run.
    for interval, place in ((1, 4), (3, 7), (2, steps)):
        directory = tmp_path / f"{interval} {place}"
        callbacks, _ = watchers(directory)
        assert subject.fit(*callbacks, silent(directory, steps=interval), dies_after=place, **options) is None
        callbacks, seen = watchers(directory)
        resumed = subject.fit(*callbacks, silent(directory), **options)
        assert resumed == plain, f"died after batch {place}, saved every {interval}"
        assert seen() == expected


SUBJECTS = {
    "averages of the weights": lambda: Subject(optimizer=keras.optimizers.Adam(0.03, use_ema=True, ema_momentum=0.9)),
    "sums of gradients": lambda: Subject(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)),
    "a scaled loss": lambda: Subject(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.03))),
    "three steps a call": lambda: Subject(steps_per_execution=3),
    "a generator of Keras": lambda: Subject(keras.layers.GRUCell(4, dropout=0.4, seed=5)),
}


# Averages are in test_kills.py, too; sums of gradients and a scale are variables of the optimizer like others.
SLOW = {"averages of the weights", "sums of gradients", "a scaled loss"}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in SLOW)) for kind in SUBJECTS])
def test_other_ways_to_train(tmp_path, kind):
    subject = SUBJECTS[kind]()
    whole = subject.fit(epochs=3)
    for place in (2, 4):
        subject.fit(silent(tmp_path / str(place), steps=1), epochs=3, dies_after=place)
        assert subject.fit(silent(tmp_path / str(place)), epochs=3) == whole, f"died after {place} calls"


class Batches(keras.callbacks.Callback):
    """Learns the faster the further an epoch is: what a callback does may depend on the number of a batch."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate.assign(0.01 * (1 + batch) / self.params["steps"])


@pytest.mark.slow
def test_a_new_process_makes_its_metrics_at_the_first_step(tmp_path):
    """And counts the batches of an epoch as the one that died did."""

    def process():
        return Subject(tfcharlm.RNNCell(5), metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2)])

    def fit(subject, *callbacks, **options):
        return subject.fit(*callbacks, Batches(), epochs=2, validation_data=subject.data.take(3), **options)

    first, checkpoint = process(), {"steps": 3}
    whole = fit(first)
    assert fit(first, silent(tmp_path / "run", **checkpoint), dies_after=8) is None
    assert fit(process(), silent(tmp_path / "run", **checkpoint)) == whole
    assert len(whole[1]["val_sparse_top_k_categorical_accuracy"]) == 2


@pytest.mark.parametrize("kind", ["BackupAndRestore", "SwapEMAWeights", "Checkpoint"])
def test_what_moves_weights_behind_the_back_of_a_run_is_refused(tmp_path, subject, kind):
    others = {
        "BackupAndRestore": lambda: keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        "SwapEMAWeights": lambda: keras.callbacks.SwapEMAWeights(),
        "Checkpoint": lambda: silent(tmp_path / "other"),
    }
    with pytest.raises(ValueError, match=f"what {kind} does; leave one of them out"):
        subject.fit(silent(tmp_path / "run"), others[kind]())


def test_a_run_that_had_ended_is_trained_no_further_but_may_be_prolonged(tmp_path, subject):
    """The history is that of all epochs; that of a prolonged run what it would have been from the beginning."""
    short, long = subject.fit(Counter(), epochs=2), subject.fit(Counter(), epochs=5)
    for _ in range(2):
        counter = Counter()
        assert subject.fit(counter, silent(tmp_path / "run"), epochs=2) == short
    assert counter.told["begun"] == 2 * len(subject.data), "nobody is told of a run that is over"
    assert subject.fit(Counter(), silent(tmp_path / "run"), epochs=1) == short, "nor is it shortened"
    prolonged = {"epochs": 5, "dies_after": 3}
    subject.fit(Counter(), silent(tmp_path / "other", steps=2), epochs=2)
    assert subject.fit(Counter(), silent(tmp_path / "other", steps=2), **prolonged) is None
    assert subject.fit(Counter(), silent(tmp_path / "other"), epochs=5) == long
    assert subject.model.history.epoch == list(range(5))


@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EROFS"])
def test_a_run_continues_when_it_cannot_be_saved(tmp_path, subject, code):
    """One line each time; the last checkpoint that could be written stays."""
    lines, places, plain = [], range(30, 100_000), subject.fit(epochs=2)
    checkpoint = Checkpoint(tmp_path / "run", steps=2, notify=lines.append)
    with Calls(refused(getattr(errno, code), places, ["open", "write", "fsync", "mkdir", "rename"])):
        assert subject.fit(checkpoint, epochs=2) == plain
    step = CheckpointStore(tmp_path / "run").steps()[0]
    assert 0 < step < 2 * len(subject.data) and len(lines) >= 2
    assert all(f"({errno_line(code)}" in line and line.endswith("the run continues without it.") for line in lines)
    assert subject.fit(Checkpoint(tmp_path / "run", notify=lines.append), epochs=2) == plain
    assert lines[-1].endswith(f"the run resumes after step {step}.")


def errno_line(code):
    return f"[Errno {getattr(errno, code)}] {os.strerror(getattr(errno, code))}"


def test_damage_is_told_and_the_run_ends_the_same(tmp_path, subject, rng):
    plain = subject.fit(epochs=3)
    subject.fit(silent(tmp_path / "run", steps=2), epochs=3, dies_after=9)
    newest = CheckpointStore(tmp_path / "run").path(8)
    DAMAGES["a bit flipped"](newest / "arrays.npy", rng)
    lines = []
    assert subject.fit(Checkpoint(tmp_path / "run", notify=lines.append), epochs=3) == plain
    assert [line.split()[-1] for line in lines] == ["skipped.", "6."] and "arrays.npy" in lines[0]

    CheckpointStore(tmp_path / "run").save(9, {"run_fingerprint": {"settings": {}}, "progress": {"step": "9"}})
    with pytest.raises(CheckpointError, match=r"checkpoint-0000000009 must be the checkpoint of a `fit`"):
        subject.fit(silent(tmp_path / "run"), epochs=3)
    for path in (tmp_path / "run").glob("checkpoint-*/*.json"):
        path.write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint can be read: .*state.json.*To start again, remove"):
        subject.fit(silent(tmp_path / "run"), epochs=3)


OTHERS = {
    "settings": (
        lambda subject: {"checkpoint": {"settings": {"layers": 3}}},
        "settings.layers was 2 and is 3|layers was 2",
    ),
    "text": (lambda subject: {"data": stream_dataset(IDS[::-1], 2, 7, seed=2)}, "data.corpus_sha256 was"),
    "batch size": (lambda subject: {"data": stream_dataset(IDS, 1, 7, seed=2)}, "data.batch_size was 2 and is 1"),
    "seed": (lambda subject: {"data": stream_dataset(IDS, 2, 7, seed=3)}, "data.seed was 2 and is 3"),
    "data set": (lambda subject: {"data": subject.data.take(3)}, "data was .* and is None"),
    "parts": (lambda subject: {"steps_per_epoch": 2}, "steps_per_epoch was None and is 2"),
    "callbacks": (
        lambda subject: {"callbacks": [Counter()]},
        r"callbacks was \['Guard'\] and is \['Guard', 'Counter'\]",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_named(tmp_path, subject, what):
    """And what was there is untouched."""
    subject.fit(Checkpoint(tmp_path, steps=2, settings={"layers": 2}, notify=lambda line: None), dies_after=3)
    before = sorted((path, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file())
    change, line = OTHERS[what]
    options = change(subject)
    settings = options.pop("checkpoint", {"settings": {"layers": 2}})
    with pytest.raises(CheckpointError, match=f"another one: .*({line})"):
        subject.fit(
            Checkpoint(tmp_path, **settings, notify=lambda line: None), *options.pop("callbacks", ()), **options
        )
    assert sorted((path, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()) == before


def other_model(vocabulary=VOCABULARY, units=5, optimizer=None):
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(units)], embedding_dim=3, dropout=0.2)
    model.compile(optimizer or keras.optimizers.Adam(0.03))
    return model


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (lambda: other_model(Vocabulary("\nabcdefh")), "vocabulary.fingerprint was"),
        (lambda: other_model(units=4), "model.cells.* was"),
        (
            lambda: other_model(optimizer=keras.optimizers.Adam(0.03, beta_1=0.8)),
            "optimizer.config.beta_1 was 0.9 and is 0.8",
        ),
        (lambda: other_model(optimizer=keras.optimizers.SGD(0.03)), "optimizer.class_name was 'Adam' and is 'SGD'"),
    ],
    ids=["vocabulary", "architecture", "optimizer's settings", "optimizer"],
)
def test_another_model_is_named(tmp_path, subject, model, line):
    subject.fit(silent(tmp_path, steps=2), dies_after=3)
    with pytest.raises(CheckpointError, match=f"another one: .*{line}"):
        model().fit(subject.data, verbose=0, callbacks=[silent(tmp_path)])


def test_what_cannot_be_resumed(tmp_path, subject):
    tokens = np.zeros((4, 7), int)
    unknown = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=tf.TensorSpec(()))
    for data, line in (
        (tokens, "must be a tf.data.Dataset.*received ndarray"),
        (unknown, "must be a data set of known length"),
    ):
        with pytest.raises(ValueError, match=line):
            subject.fit(silent(tmp_path), data=data)
    with pytest.raises(ValueError, match="seconds or steps between saves, not both; received seconds=3 and steps=4"):
        Checkpoint(tmp_path, seconds=3, steps=4)
    for wrong in ({"seconds": 0}, {"steps": -1}, {"seconds": float("nan")}):
        with pytest.raises(ValueError, match=r"(seconds|steps) must be a number above 0; received"):
            Checkpoint(tmp_path, **wrong)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=r"received a Sequential.*BackupAndRestore"):
        model.fit(np.ones((2, 1)), np.ones(2), verbose=0, callbacks=[Checkpoint(tmp_path)])


def test_a_directory_has_one_run_at_a_time(tmp_path, subject):
    other = other_model()

    class Second(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            with pytest.raises(CheckpointError, match="another run is running in"):
                other.fit(subject.data, verbose=0, callbacks=[silent(tmp_path)])

    assert subject.fit(silent(tmp_path), Second()) == subject.fit()
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file"):
        subject.fit(silent(tmp_path / "file"))

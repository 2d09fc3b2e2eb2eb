"""A checkpoint is whole or noticed not to be, whatever breaks; and a run that goes on with one is the run that it was.

One process plays all of them: a kill is an exception that nothing catches, a new process is a model with new values.
"""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from failing_calls import Calls, Killed, killed_at, refused

import tfcharlm
from tfcharlm.checkpoint import Checkpoint, CheckpointError, CheckpointStore, store
from tfcharlm.atomic_files import lock
from tfcharlm.text import Vocabulary, line_dataset, stream_dataset

VOCABULARY = Vocabulary("\nabcdefg")
FILES = ("arrays.npy", "manifest.sha256", "state.json")


# -- the store alone


def tree_of(step):
    """What a checkpoint may hold; another one for every step."""
    rng = np.random.default_rng(step)
    arrays = [rng.normal(size=(3, 5)).astype(np.float32), tf.constant(rng.normal(size=7), tf.bfloat16).numpy()]
    return {"progress": {"step": step, "stopped": False}, "logs": [[0, {"loss": "nan"}], None], "arrays": arrays}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return type(a) is type(b) and a == b


def directory_with(path, *steps):
    path.mkdir()
    saved = CheckpointStore(path)
    for step in steps:
        saved.save(step, tree_of(step))
    return path


def next_process(directory):
    """A store as the next process finds it, with the step that it goes on from and what it says."""
    with lock(directory, "another run"):
        reloaded = CheckpointStore(directory)
        step, tree, damages = reloaded.load_newest()
        assert same(tree, tree_of(step))
        return reloaded, step, damages


def assert_clean(directory, *steps):
    assert sorted(path.name for path in directory.iterdir()) == sorted(
        ["lock", *(f"checkpoint-{s:010}" for s in steps)]
    )


@pytest.mark.parametrize("half", [False, True], ids=["before", "in the middle of"])
@pytest.mark.parametrize("damaged", [False, True], ids=["a new step", "a damaged step"])
def test_a_kill_at_any_call_of_a_save_leaves_the_old_or_the_new(tmp_path, half, damaged):
    """The step that is saved may be there already, damaged: the run went on from the one before."""
    found, place = [], 0
    while not found or found[-1] != "finished":
        directory = directory_with(tmp_path / str(place), 10, 20, *[30] * damaged)
        if damaged:
            (directory / "checkpoint-0000000030" / "state.json").write_bytes(b"{}")
        saving, step, damages = next_process(directory)
        assert (step, len(damages)) == (20, damaged)
        try:
            with Calls(killed_at(place, half)):
                saving.save(30, tree_of(30))
            found.append("finished")
        except Killed:
            found.append("killed")
        after, step, damages = next_process(directory)
        assert step in (20, 30) and (step == 30 or found[-1] == "killed")
        # A damaged one may be there still: it is noticed as before.
        assert len(damages) <= (damaged and step == 20)
        found[-1:] = [step, found[-1]]
        after.save(40, tree_of(40))
        assert_clean(directory, step, 40)
        place += 1
    print(f"{place - 1} places, {found.count(20)} times the old one")
    assert place > 15 and found.count(20) > 10 and found.count(30) > 2


def test_a_save_in_place_would_not_outlive_a_kill(tmp_path, monkeypatch):
    """The negative control of the test above: files that are written where they are read."""

    def careless(path, files):
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data[:0])
            file = os.open(path / name, os.O_WRONLY)
            os.write(file, data)
            os.close(file)

    monkeypatch.setattr(store, "replace_directory", careless)
    torn = 0
    for place in range(1, 7):
        directory = directory_with(tmp_path / str(place), 10, 20)
        with pytest.raises(Killed), Calls(killed_at(place, half=True)):
            CheckpointStore(directory).save(30, tree_of(30))
        _, step, damages = next_process(directory)
        torn += step == 20 and len(damages)
    assert torn == 6


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux, where /proc lists open files")
def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path):
    """What a power cut needs: files and names are brought to the disk before the rename, and that before a removal."""
    directory, events, names = directory_with(tmp_path / "run", 10, 20), [], {}

    def note(number, name, function, arguments):
        if name == "write":
            events.append(("write", names[arguments[0]]))
        elif name == "fsync":
            events.append(("fsync", Path(f"/proc/self/fd/{arguments[0]}").readlink().name))
        elif name in ("mkdir", "rename", "rmdir"):
            events.append((name, Path(arguments[-1] if name == "rename" else arguments[0]).name))

    class Named(Calls):
        """Knows the files by their numbers."""

        def _counted(self, name, function):
            call = super()._counted(name, function)

            def opened(path, *arguments, **named):
                file = call(path, *arguments, **named)
                names[file] = Path(path).name
                return file

            return opened if name == "open" else call

    saving = CheckpointStore(directory)
    saving.load(20)
    with Named(note):
        saving.save(30, tree_of(30))
    partial = f"partial-{os.getpid()}-checkpoint-0000000030"
    written = [
        event
        for name in ("state.json", "arrays.npy", "manifest.sha256")
        for event in (("write", name), ("fsync", name))
    ]
    new = [("mkdir", partial), *written, ("fsync", partial), ("rename", "checkpoint-0000000030"), ("fsync", "run")]
    assert events[: len(new)] == new
    assert events[len(new)] == ("rename", f"partial-{os.getpid()}-checkpoint-0000000010.removed")


@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EROFS"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_save_that_fails_costs_nothing_that_is_there(tmp_path, code, lasting):
    """A full disk can still remove; a disk that is broken or was made read-only can do nothing more."""
    names = (
        ("open", "write", "fsync", "mkdir", "rename")
        if code == "ENOSPC"
        else ("write", "fsync", "mkdir", "rename", "unlink", "rmdir")
    )
    place, failed = 0, True
    while failed or place < 9:
        directory = directory_with(tmp_path / str(place), 10, 20)
        saving, _, _ = next_process(directory)
        with Calls(refused(getattr(errno, code), range(place, 999 if lasting else place + 1), names)) as calls:
            try:
                saving.save(30, tree_of(30))
                failed = calls.number > place
            except OSError as error:
                assert error.errno == getattr(errno, code)
                failed = True
        kept = CheckpointStore(directory)
        assert kept.load_newest()[0] in (20, 30) and kept.load_newest()[2] == []
        if kept.steps()[0] == 20:
            assert {10, 20} <= set(kept.steps()), "nothing new, and an old one is gone"
        saving.save(40, tree_of(40))
        _, step, damages = next_process(directory)
        assert (step, damages) == (40, [])
        place += 1
    print(f"{place - 1} places")


# -- damage


def other_of(path):
    """The file of the same name in the other checkpoint."""
    return next(p for p in path.parent.parent.glob(f"checkpoint-*/{path.name}") if p != path)


def sibling_of(path):
    return path.with_name(FILES[FILES.index(path.name) - 1])


def swap(path, rng):
    mine, its = path.read_bytes(), sibling_of(path).read_bytes()
    path.write_bytes(its)
    sibling_of(path).write_bytes(mine)


def zero_a_block(path, rng):
    data = bytearray(path.read_bytes())
    begin = rng.integers(len(data) - 16)
    data[begin : begin + 16] = bytes(16)
    path.write_bytes(data)


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def replace(path, make):
    path.unlink()
    make(path)


DAMAGES = {
    "emptied": lambda path, rng: path.write_bytes(b""),
    "cut in half": lambda path, rng: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by a byte": lambda path, rng: path.write_bytes(path.read_bytes()[:-1]),
    "a byte too long": lambda path, rng: path.write_bytes(path.read_bytes() + b"\0"),
    "a bit flipped": flip,
    "a block of zeros": zero_a_block,
    "other bytes": lambda path, rng: path.write_bytes(rng.bytes(path.stat().st_size)),
    "deleted": lambda path, rng: path.unlink(),
    "a directory": lambda path, rng: replace(path, os.mkdir),
    "a dangling link": lambda path, rng: replace(path, lambda path: path.symlink_to("nowhere")),
    "a FIFO": lambda path, rng: replace(path, os.mkfifo),
    "the other checkpoint's": lambda path, rng: shutil.copyfile(other_of(path), path),
    "swapped with another file": swap,
    "renamed": lambda path, rng: path.rename(path.with_name("other")),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_a_file_is_noticed_and_the_checkpoint_before_is_used(tmp_path, rng, damage, name):
    directory = directory_with(tmp_path / "run", 10, 20)
    DAMAGES[damage](directory / "checkpoint-0000000020" / name, rng)
    found, step, (line,) = next_process(directory)
    assert step == 10 and "checkpoint-0000000020" in line and name in line and "\n" not in line
    found.save(30, tree_of(30))
    assert_clean(directory, 10, 30)

    DAMAGES[damage](directory / "checkpoint-0000000010" / name, rng)
    # The other one's file is its own by now.
    damage = "a byte too long" if damage == "the other checkpoint's" else damage
    DAMAGES[damage](directory / "checkpoint-0000000030" / name, rng)
    with pytest.raises(CheckpointError, match=r"(?s)no checkpoint can be read: .*-0000000030.*-0000000010.*To begin"):
        CheckpointStore(directory).load_newest()


@pytest.mark.parametrize("damage", ["another file", "another step's name", "no directory", "a link to itself", "empty"])
def test_damage_to_a_directory_is_noticed(tmp_path, damage):
    directory = directory_with(tmp_path / "run", 10, 20)
    newest = directory / "checkpoint-0000000020"
    if damage == "another file":
        (newest / "more").write_bytes(b"")
    elif damage == "another step's name":
        newest = newest.rename(directory / "checkpoint-0000000025")
    else:
        shutil.rmtree(newest)
        {"no directory": newest.touch, "a link to itself": lambda: newest.symlink_to(newest), "empty": newest.mkdir}[
            damage
        ]()
    _, step, (line,) = next_process(directory)
    assert step == 10 and newest.name in line


def flipped_bits(directory, rng, number):
    """Flips bits of the newest checkpoint one at a time, all files alike by their size: how many nobody notices."""
    paths = [directory / "checkpoint-0000000020" / name for name in FILES]
    contents = [path.read_bytes() for path in paths]
    silent = 0
    for bit in rng.choice(8 * sum(map(len, contents)), number, replace=False):
        place, file = bit // 8, 0
        while place >= len(contents[file]):
            place, file = place - len(contents[file]), file + 1
        damaged = bytearray(contents[file])
        damaged[place] ^= 1 << (bit % 8)
        paths[file].write_bytes(damaged)
        try:
            step, tree, damages = CheckpointStore(directory).load_newest()
            silent += (step, len(damages)) != (10, 1) or not same(tree, tree_of(10))
        except CheckpointError:
            raise
        except Exception:  # a number that is none, a name that is not there: noticed, if not understood
            silent += 0
        paths[file].write_bytes(contents[file])
    return silent


def test_a_thousand_flipped_bits_are_noticed(tmp_path, rng):
    assert flipped_bits(directory_with(tmp_path / "run", 10, 20), rng, 1000) == 0


def test_without_the_sums_flipped_bits_would_not_be_noticed(tmp_path, rng, monkeypatch):
    directory = directory_with(tmp_path / "run", 10, 20)
    monkeypatch.setattr(store, "_manifest", lambda files: files["manifest.sha256"])
    assert flipped_bits(directory, rng, 200) > 50


def test_what_cannot_be_kept_is_said(tmp_path):
    for tree in (
        {"weights": np.array([1.0, np.nan])},
        {"loss": float("inf")},
        {"names": {"a", "b"}},
        {"path": tmp_path},
    ):
        with pytest.raises(ValueError, match=r"finite|no array of numbers|JSON"):
            CheckpointStore(tmp_path).save(10, tree)
    assert list(tmp_path.iterdir()) == []


# -- which windows a run reads

IDS = np.random.default_rng(3).integers(8, size=67)
DOCUMENTS = [IDS[:5], IDS[5:16], IDS[16:41], IDS[41:]]
LINES = ["a", "bcd", "efgab", "dd", "gfedc", "bb"]
DATA = {
    "stream": lambda passes: stream_dataset(IDS, 4, 5, seed=5, passes=passes),
    "documents": lambda passes: stream_dataset(DOCUMENTS, 3, 9, seed=7, passes=passes),
    "lines": lambda passes: line_dataset(LINES, VOCABULARY, 2, seed=1, passes=passes),
}


def bytes_of(batch):
    return b"".join(np.asarray(part).tobytes() for part in tf.nest.flatten(batch))


@pytest.mark.parametrize("kind", DATA)
def test_a_data_set_begins_at_any_batch(kind):
    data = DATA[kind](3)
    whole = list(map(bytes_of, data))
    assert len(whole) == len(data) >= 9 and len(set(whole)) > len(whole) // 2
    for place in range(len(whole) + 1):
        rest = data.source.starting_at(place)
        assert len(rest) == len(whole) - place and list(map(bytes_of, rest)) == whole[place:]


class Reader(tfcharlm.CharLM):
    """Notes down what it is given to train on, and learns nothing; it dies after some batches."""

    def __init__(self, **arguments):
        super().__init__(VOCABULARY, [tfcharlm.RNNCell(2)], embedding_dim=3, **arguments)
        self.batches, self.dies_after = [], None
        self.compile()

    def make_train_function(self, force=False):
        def read(iterator):
            batch = next(iterator)
            if len(self.batches) == self.dies_after:
                raise Killed
            self.batches.append(bytes_of(batch))
            return {"loss": len(self.batches)}

        self.train_function = read

    def read(self, data, options, *callbacks, dies_after=None):
        """(the batches of a run, the losses of its history; None if it died)."""
        self.batches, self.dies_after = [], dies_after
        try:
            return self.batches, self.fit(data, verbose=0, callbacks=list(callbacks), **options).history["loss"]
        except Killed:
            return self.batches, None


@pytest.fixture(scope="module")
def reader():
    return Reader()


def numbers(size=None):
    """A data set that tells its batches apart."""
    return tf.data.Dataset.range(size) if size else tf.data.Dataset.counter()


LAYOUTS = {
    "one epoch": (numbers(7), {}),
    "three epochs": (numbers(3), {"epochs": 3}),
    "three equal parts": (numbers(9), {"epochs": 3, "steps_per_epoch": 3}),
    "parts that leave a rest": (numbers(9), {"epochs": 2, "steps_per_epoch": 4}),
    "it ends in an epoch": (numbers(5), {"epochs": 4, "steps_per_epoch": 3}),
    "epochs longer than it is": (numbers(3), {"epochs": 2, "steps_per_epoch": 5}),
    "it never ends": (numbers(), {"epochs": 3, "steps_per_epoch": 3}),
    "begun late": (numbers(3), {"initial_epoch": 2, "epochs": 5}),
}


def begins(whole, part):
    return whole[: len(part)] == part


def silent(directory, **interval):
    return Checkpoint(directory, **interval, notify=lambda line: None)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_go_on_wherever_a_run_stops(tmp_path, reader, layout):
    """For every batch at which it may stop, the next process reads the batches that were left."""
    data, options = LAYOUTS[layout]
    whole, losses = reader.read(data, options)
    for place in range(1, len(whole)):
        directory = tmp_path / str(place)
        first, _ = reader.read(data, options, silent(directory, steps=place), dies_after=place)
        second, resumed = reader.read(data, options, silent(directory))
        assert first == whole[:place] and second == whole[place:], f"stopped after {place} of {len(whole)} batches"
        assert len(resumed) == len(losses) == len(set(losses))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_more_than_one_interval_is_read_again(tmp_path, reader, layout, rng):
    """A run of many processes, each of which dies."""
    data, options = LAYOUTS[layout]
    whole, _ = reader.read(data, options)
    interval, done, losses = int(rng.integers(2, 4)), 0, None
    for attempt in range(99):
        checkpoint = silent(tmp_path / "run", steps=interval)
        batches, losses = reader.read(data, options, checkpoint, dies_after=interval + attempt % 2)
        first = done - next(again for again in range(interval + 1) if begins(whole[done - again :], batches))
        assert attempt or first == 0
        done = first + len(batches)
        if losses is not None:
            break
    assert done == len(whole) and attempt > 1


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("passes", [1, 2], ids=["epochs of Keras", "passes of the data set"])
def test_a_run_over_a_text_goes_on_with_the_next_window(tmp_path, reader, kind, passes, rng):
    data, options = DATA[kind](passes), {"epochs": 3 - passes}
    whole, _ = reader.read(data, options)
    place = int(rng.integers(1, len(whole)))
    for steps, dies_after in ((1, place), (None, None)):
        batches, _ = reader.read(data, options, silent(tmp_path / "run", steps=steps), dies_after=dies_after)
        assert batches == (whole[:place] if dies_after else whole[place:])


# -- who uses `fit`


class Subject:
    """A model, traced once, that begins anew whenever a test says so; and what can be said of it in the end."""

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
        return [*model.variables, *model.optimizer.variables, *model.carried_variables, model.dropout.counter]

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


def test_other_callbacks_go_on_as_if_nothing_had_been(tmp_path, subject, rng):
    """They stop the run, move its learning rate, put the best weights back; and are told of everything once."""
    data = stream_dataset(rng.integers(8, size=40), 3, 5)
    options = {"epochs": 9, "validation_data": data}
    callbacks, seen = watchers(tmp_path / "plain")
    plain, expected = subject.fit(*callbacks, **options), seen()
    steps, epochs = expected[-1]["ended"], expected[-1]["epoch"]
    assert 2 < epochs < 9 and expected[2], "it stops early"
    for interval, place in ((1, 4), (1, 5), (3, 7), (2, steps)):
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


@pytest.mark.parametrize("kind", SUBJECTS)
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


def test_a_new_process_makes_its_metrics_at_the_first_step(tmp_path):
    """And counts the batches of an epoch as the one that died did."""

    def fit(*callbacks, **options):
        subject = Subject(metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2)])
        return subject.fit(*callbacks, Batches(), epochs=2, validation_data=subject.data.take(3), **options)

    whole, checkpoint = fit(), {"steps": 3}
    assert fit(silent(tmp_path / "run", **checkpoint), dies_after=8) is None
    assert fit(silent(tmp_path / "run", **checkpoint)) == whole
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
def test_a_run_goes_on_when_it_cannot_be_saved(tmp_path, subject, code):
    """One line each time; the last checkpoint that could be written stays."""
    lines, places, plain = [], range(30, 100_000), subject.fit(epochs=2)
    checkpoint = Checkpoint(tmp_path / "run", steps=2, notify=lines.append)
    with Calls(refused(getattr(errno, code), places, ["open", "write", "fsync", "mkdir", "rename"])):
        assert subject.fit(checkpoint, epochs=2) == plain
    step = CheckpointStore(tmp_path / "run").steps()[0]
    assert 0 < step < 2 * len(subject.data) and len(lines) >= 2
    assert all(f"({errno_line(code)}" in line and line.endswith("the run goes on without.") for line in lines)
    assert subject.fit(Checkpoint(tmp_path / "run", notify=lines.append), epochs=2) == plain
    assert lines[-1].endswith(f"the run goes on after step {step}.")


def errno_line(code):
    return f"[Errno {getattr(errno, code)}] {os.strerror(getattr(errno, code))}"


def test_damage_is_told_and_the_run_ends_the_same(tmp_path, subject, rng):
    plain = subject.fit(epochs=3)
    subject.fit(silent(tmp_path / "run", steps=2), epochs=3, dies_after=9)
    newest = CheckpointStore(tmp_path / "run").path(8)
    flip(newest / "arrays.npy", rng)
    lines = []
    assert subject.fit(Checkpoint(tmp_path / "run", notify=lines.append), epochs=3) == plain
    assert [line.split()[-1] for line in lines] == ["out.", "6."] and "arrays.npy" in lines[0]

    for path in (tmp_path / "run").glob("checkpoint-*/*.json"):
        path.write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint can be read: .*state.json.*To begin anew, remove"):
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


def test_what_cannot_be_gone_on_with(tmp_path, subject):
    tokens = np.zeros((4, 7), int)
    unknown = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=tf.TensorSpec(()))
    for data, line in (
        (tokens, "must be a function of their number.*received ndarray"),
        (unknown, "must know its length"),
    ):
        with pytest.raises(ValueError, match=line):
            subject.fit(silent(tmp_path), data=data)
    with pytest.raises(ValueError, match="seconds or steps between saves, not both; received seconds=3 and steps=4"):
        Checkpoint(tmp_path, seconds=3, steps=4)
    for wrong in ({"seconds": 0}, {"steps": -1}, {"seconds": float("nan")}):
        with pytest.raises(ValueError, match="must be above 0; received"):
            Checkpoint(tmp_path, **wrong)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=r"received a Sequential.*BackupAndRestore"):
        model.fit(np.ones((2, 1)), np.ones(2), verbose=0, callbacks=[Checkpoint(tmp_path)])


def test_a_directory_has_one_run_at_a_time(tmp_path, subject, reader):
    class Second(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            with pytest.raises(CheckpointError, match="another run is running in"):
                reader.read(subject.data, {}, silent(tmp_path))

    assert subject.fit(silent(tmp_path), Second()) == subject.fit()
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file"):
        subject.fit(silent(tmp_path / "file"))

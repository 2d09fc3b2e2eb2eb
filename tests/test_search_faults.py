"""Searches lose no trial and run none twice, whatever is killed, torn or missing.

The first part plays chief and workers in one process; a kill is an object that is dropped. The slow part kills
processes; this file is also the program that they run.
"""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import keras
import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import Trial

from tfcharlm.tuning import workers as workers_module
from tfcharlm.tuning.fault_tolerance.connection import Connection
from tfcharlm.tuning.fault_tolerance.leases import claim
from tfcharlm.tuning.fault_tolerance.oracles import KINDS, make_oracle
from tfcharlm.tuning.search import search
from tfcharlm.tuning.fault_tolerance.tuner import as_history
from tfcharlm.tuning.fault_tolerance.workers import Workers

CELLS, RATES = ["lstm", "rnn", "gru"], [0.5, 0.25, 0.125]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def ticks(self, seconds):
        """Lets seconds pass one by one."""
        for _ in range(seconds):
            self.now += 1
            yield self.now


def declare(hp):
    """A space of (2 + 5) * 3 * 3 combinations."""
    hp.Choice("cell", CELLS)
    hp.Choice("rate", RATES)
    hp.Int("units", 2, 6, step=2)
    with hp.conditional_scope("cell", ["gru"]):
        hp.Int("reset", 1, 5)


def begin(directory, kind="random", trials=7, reload=False, messages=None, **kwargs):
    """A chief's oracle."""
    oracle = make_oracle(kind, directory, trials=trials, seed=3, **kwargs)
    oracle.on_message = [].append if messages is None else messages.append
    # What Keras Tuner's tuner says to an oracle.
    oracle._set_project_dir(str(directory.parent), directory.name)
    if reload:
        oracle.reload()
    else:
        space = oracle.get_space()
        declare(space)
        oracle.update_space(space)
        oracle.save()
    return oracle


def loss(trial):
    values = trial.hyperparameters.values
    return 1 + values["rate"] + 1 / values["units"]


def ended(trial, worker="", status="COMPLETED", value=None, message=None):
    """What a worker sends in the end; `trial` goes over the wire."""
    trial = Trial.from_proto(trial.to_proto())
    trial.trial_id = claim(trial.trial_id, worker)
    trial.status, trial.message = status, message
    if status == "COMPLETED":
        trial.metrics.update("val_loss", loss(trial) if value is None else value)
    return trial


def play(oracle, workers=("worker0", "worker1"), between=lambda oracle: oracle):
    """Runs a search to its end. `between` may put another oracle in its place after every message."""
    for _ in range(1000):
        running, stopped = [], []
        for worker in workers:
            trial = oracle.create_trial(worker)
            (stopped if trial.status == "STOPPED" else running).append((worker, trial))
            oracle = between(oracle)
        for worker, trial in running:
            if trial.status == "RUNNING":
                oracle.end_trial(ended(trial, worker))
                oracle = between(oracle)
        if len(stopped) == len(workers):
            return oracle
    raise AssertionError("the search does not end")


def values_of(oracle):
    return [trial.hyperparameters.values for trial in oracle.trials.values()]


def assert_complete(oracle, trials):
    assert oracle.stopped_because is None and oracle.is_over() and not oracle.tuner_ids
    assert len(oracle.trials) == trials and sorted(oracle.end_order) == sorted(oracle.trials)
    assert all(trial.status == "COMPLETED" for trial in oracle.trials.values())
    assert all(trial.score == pytest.approx(loss(trial)) for trial in oracle.trials.values())


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k == "bayesian")) for k in KINDS])
def test_a_chief_that_is_killed_after_every_message_loses_nothing(tmp_path, kind):
    directory, trials = tmp_path / "search", 9 if kind == "bayesian" else 11
    kwargs = {"num_initial_points": 8} if kind == "bayesian" else {}
    oracle = begin(directory, kind, trials, **kwargs)
    oracle = play(oracle, between=lambda killed: begin(directory, kind, trials, reload=True, **kwargs))
    assert_complete(oracle, trials)
    if kind != "hyperband":  # whose later rounds have the values of earlier ones
        assert len({tuple(sorted(values.items())) for values in values_of(oracle)}) == trials
    if kind != "bayesian":  # which begins its search for the best point elsewhere
        assert values_of(oracle) == values_of(play(begin(tmp_path / "whole", kind, trials)))


def test_a_grid_is_the_product_without_what_is_inactive(tmp_path):
    oracle = play(begin(tmp_path / "search", "grid", trials=None))
    units = range(2, 7, 2)
    product = [dict(zip(("cell", "rate", "units"), row)) for row in itertools.product(CELLS, RATES, units)]  # noqa: B905
    expected = [row for row in product if row["cell"] != "gru"]
    expected += [row | {"reset": reset} for row in product if row["cell"] == "gru" for reset in range(1, 6)]
    assert_complete(oracle, len(expected))
    assert values_of(oracle) == expected


def test_random_values_do_not_depend_on_who_asks(tmp_path):
    one = play(begin(tmp_path / "one"), workers=["tuner0"])
    five = play(begin(tmp_path / "five"), workers=[f"worker{number}" for number in range(5)])
    assert values_of(one) == values_of(five)


def test_an_exhausted_space_ends_the_search(tmp_path):
    oracle = make_oracle("random", tmp_path / "search", trials=50)
    oracle._set_project_dir(str(tmp_path), "search")
    space = oracle.get_space()
    space.Choice("rate", RATES)
    space.Fixed("units", 2)
    oracle.update_space(space)
    assert_complete(play(oracle), 3)


def after_some_trials(directory, kind="random"):
    """A search with four finished trials and two that run."""
    oracle = begin(directory, kind)
    for _ in range(2):
        for worker, trial in [(worker, oracle.create_trial(worker)) for worker in ("worker0", "worker1")]:
            oracle.end_trial(ended(trial, worker))
    for worker in ("worker0", "worker1"):
        assert oracle.create_trial(worker).status == "RUNNING"
    return oracle


@pytest.mark.parametrize("kind", ["random", "hyperband"])
def test_a_torn_state_costs_nothing(tmp_path, kind, rng):
    """The newest state, cut off anywhere, and made a zero anywhere."""
    directory = tmp_path / "search"
    finished = set(after_some_trials(directory, kind).end_order)
    original = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    state = original[directory / "oracle.json"]
    cuts = [0, 1, len(state) - 1, *rng.integers(2, len(state) - 1, size=20)]
    for damaged in [state[:cut] for cut in cuts] + [b"\0" * len(state), b"[]", b"{}", b"null", b'{"trials": 3}', None]:
        shutil.rmtree(directory)
        for path, content in original.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if damaged is None:
            (directory / "oracle.json").unlink()
        else:
            (directory / "oracle.json").write_bytes(damaged)
        messages = []
        oracle = begin(directory, kind, reload=True, messages=messages)
        assert len(messages) == 1 and "\n" not in messages[0]
        assert finished <= set(oracle.end_order)
        assert_complete(play(oracle), 7)


def test_what_the_state_before_does_not_know_comes_from_the_trials(tmp_path):
    """The newest state is the first that has the end of a trial, and it is lost."""
    directory = tmp_path / "search"
    oracle = begin(directory)
    trial = oracle.create_trial("worker0")
    oracle.end_trial(ended(trial, "worker0"))
    (directory / "oracle.json").write_bytes(b"{")
    assert trial.trial_id not in json.loads((directory / "oracle.json.previous").read_bytes())["end_order"]
    oracle = begin(directory, reload=True)
    assert oracle.end_order == [trial.trial_id]
    assert_complete(play(oracle), 7)


def test_both_states_torn(tmp_path):
    directory = tmp_path / "search"
    before = after_some_trials(directory)
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b'{"trials": ')
    messages = []
    oracle = begin(directory, reload=True, messages=messages)
    assert oracle.end_order == before.end_order
    assert messages == ["oracle.json and oracle.json.previous were damaged: 4 finished trials were recovered."]
    oracle = play(oracle)
    assert_complete(oracle, 7)
    assert values_of(oracle)[:4] == values_of(before)[:4]
    assert len({tuple(sorted(values.items())) for values in values_of(oracle)}) == 7


def test_both_states_torn_while_an_early_trial_runs(tmp_path):
    directory = tmp_path / "search"
    oracle = begin(directory)
    early, late = oracle.create_trial("worker0"), oracle.create_trial("worker1")
    oracle.end_trial(ended(late, "worker1"))
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b"")
    oracle = begin(directory, reload=True)
    again = oracle.create_trial("worker0")
    assert (again.trial_id, again.hyperparameters.values) == (early.trial_id, early.hyperparameters.values)
    oracle.end_trial(ended(again, "worker0"))
    assert_complete(play(oracle), 7)


def test_both_states_and_a_trial_torn(tmp_path):
    directory = tmp_path / "search"
    after_some_trials(directory)
    for name in ("oracle.json", "oracle.json.previous", "trial_1/trial.json"):
        (directory / name).write_bytes(b'{"trial_id": "1"')
    oracle = play(begin(directory, reload=True))
    assert [trial.status for trial in oracle.trials.values()] == ["COMPLETED", "FAILED"] + 5 * ["COMPLETED"]
    assert oracle.trials["1"].message == "its files were damaged"


def test_nothing_readable_is_one_line_and_no_change(tmp_path):
    directory = tmp_path / "search"
    begin(directory)
    for name in ("oracle.json", "oracle.json.previous"):
        (directory / name).write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"nothing of the search in .* can be read") as error:
        begin(directory, reload=True)
    assert "\n" not in str(error.value)
    assert [(directory / name).read_bytes() for name in ("oracle.json", "oracle.json.previous")] == [b"torn"] * 2


def test_a_search_of_another_kind_is_named(tmp_path):
    begin(tmp_path / "search", "grid")
    with pytest.raises(ValueError, match="is of kind grid, not random"):
        begin(tmp_path / "search", "random", reload=True)


def test_a_silent_worker_loses_its_trial_and_a_living_one_does_not(tmp_path):
    clock = Clock()
    oracle = begin(tmp_path / "search", clock=clock)
    silent, living = oracle.create_trial("worker0"), oracle.create_trial("worker1")
    for now in clock.ticks(31):
        oracle.expire()
        if now % 5 == 0:
            assert oracle.get_trial(claim(living.trial_id, "worker1")).status == "RUNNING"
    assert list(oracle.ongoing_trials) == ["worker1"]
    # The silent one comes back: it hears that the trial is not its own, and its result does not count.
    assert oracle.get_trial(claim(silent.trial_id, "worker0")).status == "INVALID"
    oracle.end_trial(ended(silent, "worker0", value=0.1))
    assert oracle.end_order == []
    again = oracle.create_trial("worker2")
    assert (again.trial_id, again.hyperparameters.values) == (silent.trial_id, silent.hyperparameters.values)
    oracle.end_trial(ended(silent, "worker0", value=0.1))
    assert oracle.end_order == []
    oracle.end_trial(ended(again, "worker2", value=0.2))
    assert oracle.trials[silent.trial_id].score == pytest.approx(0.2)


def test_a_chief_that_stood_still_blames_nobody(tmp_path):
    clock = Clock()
    oracle = begin(tmp_path / "search", clock=clock)
    oracle.create_trial("worker0")
    clock.now += 3600
    oracle.expire()
    assert list(oracle.ongoing_trials) == ["worker0"]


def test_a_worker_that_was_started_again_gets_its_trial_at_once(tmp_path):
    oracle = begin(tmp_path / "search")
    trial = oracle.create_trial("worker0")
    oracle.trials[trial.trial_id].metrics.update("val_loss", 0.1)
    again = oracle.create_trial("worker0")
    assert again.trial_id == trial.trial_id and not again.metrics.exists("val_loss")
    assert oracle.deaths == {trial.trial_id: 1}


def test_a_result_counts_once(tmp_path):
    directory = tmp_path / "search"
    oracle = begin(directory)
    trial = oracle.create_trial("worker0")
    for value in (0.3, 0.1):
        oracle.end_trial(ended(trial, "worker0", value=value))
    oracle = begin(directory, reload=True)
    oracle.end_trial(ended(trial, "worker0", value=0.1))
    assert oracle.end_order == [trial.trial_id] and oracle.get_best_trials()[0].score == pytest.approx(0.3)


def test_the_last_workers_wait_for_a_trial_that_may_come_back(tmp_path):
    oracle = begin(tmp_path / "search", trials=1)
    trial = oracle.create_trial("worker0")
    assert oracle.create_trial("worker1").status == "IDLE"
    assert not oracle.is_over()
    oracle.worker_died("worker0")
    again = oracle.create_trial("worker1")
    assert (again.status, again.trial_id) == ("RUNNING", trial.trial_id)
    oracle.end_trial(ended(again, "worker1"))
    assert oracle.create_trial("worker1").status == "STOPPED"
    assert_complete(oracle, 1)


def test_a_trial_that_raises_is_tried_once_more(tmp_path):
    messages = []
    oracle = begin(tmp_path / "search", trials=2, messages=messages)
    trial = oracle.create_trial("worker0")
    oracle.end_trial(ended(trial, "worker0", "INVALID", message="Traceback\nOSError: the disk is away\n"))
    assert messages == [f"trial {trial.trial_id} is tried once more: OSError: the disk is away"]
    assert_complete(play(oracle), 2)


def test_three_failed_trials_in_a_row_end_the_search(tmp_path):
    directory = tmp_path / "search"
    oracle = begin(directory)
    oracle.end_trial(ended(oracle.create_trial("worker0"), "worker0"))
    other = oracle.create_trial("worker1")
    for _ in range(2 * 3):
        trial = oracle.create_trial("worker0")
        # The message does not go over the wire, but through a file.
        Path(directory, f"trial_{trial.trial_id}", "error.txt").write_text("Traceback\nValueError: no corpus")
        oracle.end_trial(ended(trial, "worker0", "INVALID"))
    assert oracle.create_trial("worker0").status == "STOPPED"
    assert oracle.stopped_because == "3 trials in a row failed, the last one with: ValueError: no corpus"
    assert not oracle.is_over()
    oracle.end_trial(ended(other, "worker1"))
    assert oracle.create_trial("worker1").status == "STOPPED"
    assert oracle.is_over() and not oracle.tuner_ids
    # Somebody has looked after the cause: the search goes on.
    assert len(play(begin(directory, reload=True)).end_order) == 7


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_trials_that_diverge_end_nothing(tmp_path, value):
    oracle = begin(tmp_path / "search", "hyperband", trials=None, max_epochs=9)
    for number in itertools.count():
        trial = oracle.create_trial("worker0")
        if trial.status == "STOPPED":
            break
        oracle.end_trial(ended(trial, "worker0", value=value if number < 4 else None))
    assert oracle.stopped_because is None
    statuses = [trial.status for trial in oracle.trials.values()]
    assert statuses == 4 * ["FAILED"] + (len(statuses) - 4) * ["COMPLETED"]
    # A bracket with failed trials goes on to its last round.
    assert [oracle.trials[info].hyperparameters["tuner/round"] for info in oracle.start_order].count(2) > 0


def test_a_trial_in_which_ten_workers_die_fails(tmp_path):
    oracle = begin(tmp_path / "search", trials=1)
    for _ in range(10):
        assert oracle.create_trial("worker0").status == "RUNNING"
        oracle.worker_died("worker0")
    assert [trial.status for trial in oracle.trials.values()] == ["FAILED"]
    assert "10 workers died" in next(iter(oracle.trials.values())).message
    assert oracle.create_trial("worker0").status == "STOPPED" and oracle.is_over()


def test_an_interruption_is_no_death(tmp_path):
    oracle = begin(tmp_path / "search", trials=1)
    for _ in range(20):
        oracle.create_trial("worker0")
        oracle.worker_died("worker0", counts=False)
    assert_complete(play(oracle), 1)


def test_when_the_time_is_up_running_trials_go_on_and_none_begins(tmp_path):
    clock, directory = Clock(), tmp_path / "search"
    oracle = begin(directory, trials=None, clock=clock)
    oracle.seconds = 60
    clock.now += 40
    trial = oracle.create_trial("worker0")
    # The time before an interruption counts, the time between does not.
    clock.now += 1000
    oracle = begin(directory, trials=None, reload=True, clock=clock)
    oracle.seconds = 60
    assert oracle.create_trial("worker1").status == "RUNNING"
    clock.now += 21
    assert oracle.create_trial("worker2").status == "STOPPED" and not oracle.is_over()
    oracle.end_trial(ended(trial, "worker0"))
    oracle.worker_died("worker1")
    assert oracle.end_order == [trial.trial_id] and oracle.is_over()


def test_whatever_raises_ends_the_search_and_locks_nobody_out(tmp_path, monkeypatch):
    oracle = begin(tmp_path / "search")
    trial = oracle.create_trial("worker0")
    monkeypatch.setattr(oracle, "populate_space", lambda trial_id: 1 / 0)
    thread = threading.Thread(target=oracle.create_trial, args=["worker1"], name="server", daemon=True)
    thread.start()
    thread.join()
    statuses = []
    thread = threading.Thread(
        target=lambda: (oracle.end_trial(ended(trial, "worker0")), statuses.append(oracle.create_trial("x").status)),
        name="another",
        daemon=True,
    )
    thread.start()
    thread.join(timeout=20)
    assert statuses == ["STOPPED"] and oracle.is_over()
    assert oracle.stopped_because == "ZeroDivisionError: division by zero"


class Unavailable(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE


class Client:
    """Keras Tuner's client without a network; every call is cut off once, before or after the chief has heard it."""

    def __init__(self, oracle, rng):
        self.oracle, self.rng, self.objective, self.fails = oracle, rng, oracle.objective, True

    def __getattr__(self, name):
        def call(*arguments):
            self.fails = not self.fails
            heard = self.fails or self.rng.random() < 0.5
            answer = getattr(self.oracle, name)(*arguments) if heard else None
            if not self.fails:
                raise Unavailable
            return Trial.from_proto(answer.to_proto()) if isinstance(answer, Trial) else answer

        return call


def test_a_worker_asks_again_when_the_chief_was_away(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("tfcharlm.tuning.fault_tolerance.connection.time", type("Time", (), {"sleep": staticmethod(lambda s: None)}))
    oracle = begin(tmp_path / "search")
    connection = Connection(Client(oracle, rng), "worker0")
    while (trial := connection.create_trial("worker0")).status != "STOPPED":
        connection.update_trial(trial.trial_id, {"val_loss": loss(trial)}, step=2)
        trial.status = "COMPLETED"
        connection.end_trial(trial)
    assert_complete(oracle, 7)
    assert all(trial.best_step == 2 for trial in oracle.trials.values())


def test_a_program_that_does_not_start_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(workers_module, "LONGEST_PAUSE", 0)
    oracle = begin(tmp_path / "search")
    command = [sys.executable, "-c", "import sys; sys.exit('no such corpus: poems')"]
    crew = Workers(oracle, command, 1, ("127.0.0.1", 1), tmp_path / "logs")
    while not oracle.is_over():
        crew.look()
    crew.stop()
    assert "worker0 does not start: no such corpus: poems" in oracle.stopped_because
    assert (tmp_path / "logs" / "worker0.log").read_text().count("poems") == 5


@pytest.mark.parametrize("result", [None, {}, {"loss": 1.0}, keras.callbacks.History()])
def test_a_fit_without_a_loss_is_named(result):
    with pytest.raises(ValueError, match="fit must return a History or a dictionary with val_loss"):
        as_history(result)


class Fake(keras_tuner.HyperModel):
    """Sleeps instead of training, and writes down when it begins and ends."""

    def __init__(self, directory, seconds=0.0):
        super().__init__()
        self.log, self.seconds, self.curves = Path(directory, "fits.txt"), seconds, []

    def note(self, event, hp):
        with self.log.open("a") as log:
            log.write(f"{event} {time.time()} {hp['x']!r}\n")

    def build(self, hp):
        hp.Float("x", 0, 1)
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def fit(self, hp, model, callbacks=(), epochs=2, initial_epoch=0):
        self.note("begin", hp)
        history = keras.callbacks.History()
        listeners = keras.callbacks.CallbackList([history, *callbacks], model=model)
        listeners.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            time.sleep(self.seconds * random.uniform(0.3, 0.7))
            model.layers[-1].bias.assign([epoch + 1])
            # The last report is not the best.
            listeners.on_epoch_end(epoch, {"val_loss": hp["x"] + 2 ** -(epoch % 2 == 0), "loss": 1.0})
        self.note("end", hp)
        return history


def fits(directory, event):
    lines = [line.split() for line in Path(directory, "fits.txt").read_text().splitlines()]
    return [(float(when), float(x)) for what, when, x in lines if what == event]


def test_a_search_in_one_process(tmp_path):
    """Its files, its resumption, and Keras Tuner's copies of the state, which do not matter."""
    directory, ends = tmp_path / "search", []
    search(Fake(tmp_path), "random", directory, trials=3, on_trial=lambda trial: ends.append(trial.trial_id))
    with pytest.raises(ValueError, match="has a search; go on with it"):
        search(Fake(tmp_path), "random", directory, trials=5)
    (directory / "tuner0.json").write_text("{")
    (directory / "trial_0" / "trial.json").write_text('{"trial')
    (directory / "trial_1" / "trial.json").unlink()
    hypermodel = Fake(tmp_path)
    tuner = search(
        hypermodel, "random", directory, trials=5, resume=True, on_trial=lambda trial: ends.append(trial.trial_id)
    )
    assert ends == ["0", "1", "2", "0", "1", "2", "3", "4"], "those before the interruption are told again"
    assert tuner.oracle.end_order == ["0", "1", "2", "3", "4"]
    assert len(fits(tmp_path, "begin")) == 5 and len(hypermodel.curves) == 4
    best = tuner.oracle.get_best_trials()[0]
    assert best.score == min(trial.hyperparameters["x"] for trial in tuner.oracle.trials.values()) + 0.5
    assert best.best_step == 0
    np.testing.assert_array_equal(tuner.load_model(best).layers[-1].bias, [1.0])
    lines = (directory / f"trial_{best.trial_id}" / "learning_curve.csv").read_text().splitlines()
    assert sorted(lines[0].split(",")) == ["epoch", "loss", "val_loss"] and len(lines) == 3
    assert len(list((directory / "tensorboard" / best.trial_id).iterdir())) == 1


def test_hyperband_goes_on_with_weights(tmp_path):
    class Checks(Fake):
        def fit(self, hp, model, epochs, initial_epoch, callbacks):
            # The best of the earlier trial was its first and only epoch.
            assert float(model.layers[-1].bias[0]) == (0 if initial_epoch == 0 else 1)
            return super().fit(hp, model, callbacks, epochs, initial_epoch)

    tuner = search(Checks(tmp_path), "hyperband", tmp_path / "search", trials=12, max_epochs=3)
    assert tuner.oracle.stopped_because is None
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    assert any("tuner/trial_id" in trial.hyperparameters.values for trial in tuner.oracle.trials.values())


def test_three_exceptions_in_a_row_end_a_search(tmp_path):
    class Fails(Fake):
        def fit(self, hp, model, callbacks):
            raise OSError("the corpus is gone")

    tuner = search(Fails(tmp_path), "random", tmp_path / "search", trials=9, on_message=[].append)
    assert tuner.oracle.stopped_because.endswith("OSError: the corpus is gone")
    assert len(tuner.oracle.end_order) == 3
    assert "Traceback" in tuner.oracle.trials["0"].message


def test_a_directory_has_one_search_at_a_time(tmp_path):
    class Second(Fake):
        def fit(self, hp, model, callbacks):
            with pytest.raises(ValueError, match="a search is running in"):
                search(Fake(tmp_path), "random", tmp_path / "search", trials=1, resume=True)
            return 1.0

    assert search(Second(tmp_path), "random", tmp_path / "search", trials=1).oracle.stopped_because is None


def program(directory, *arguments, log="chief.log", **variables):
    """Starts this file as a program; its output goes to a file."""
    command = [sys.executable, __file__, str(directory), *arguments]
    with Path(directory, log).open("ab") as output:
        return subprocess.Popen(
            command, env=os.environ | variables, stdout=output, stderr=output, start_new_session=True
        )


def main(directory, trials, seconds):
    """Chief or worker, as the environment says."""

    def over(trial):
        print("over", time.time(), trial.hyperparameters["x"], flush=True)

    tuner = search(
        Fake(directory, float(seconds)),
        "random",
        Path(directory, "search"),
        trials=int(trials),
        workers=2,
        resume=True,
        on_trial=over,
        on_message=lambda message: print("message", time.time(), message, flush=True),
    )
    if tuner is not None and tuner.oracle.stopped_because:
        sys.exit(tuner.oracle.stopped_because)


def processes(directory, parent=None):
    """Ids of the living processes of a search, all or those that a parent has started."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid, state, ppid = int(entry.name), *(entry / "stat").read_text().rpartition(")")[2].split()[:2]
            ours = str(directory).encode() in (entry / "cmdline").read_bytes()
            if ours and state != "Z" and parent in (None, int(ppid)):
                yield pid


def overs(directory):
    lines = Path(directory, "chief.log").read_text().splitlines()
    return {float(line.split()[2]): float(line.split()[1]) for line in lines if line.startswith("over ")}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc of Linux to see which processes are left")
def test_thirty_workers_and_five_chiefs_are_killed(tmp_path, rng):
    trials, kills = 40, rng.permutation(["worker"] * 30 + ["chief"] * 5)
    arguments = (str(trials), "3")
    chief = program(tmp_path, *arguments)
    for victim in kills:
        time.sleep(rng.uniform(1, 7))
        if victim == "worker":
            while not (pids := list(processes(tmp_path, parent=chief.pid))):
                time.sleep(0.1)
                assert chief.poll() is None, "the search ended before all kills"
            os.kill(int(rng.choice(pids)), signal.SIGKILL)
        else:
            assert chief.poll() is None, "the search ended before all kills"
            chief.kill()
            chief.wait()
            chief = program(tmp_path, *arguments)
    assert chief.wait(timeout=600) == 0, Path(tmp_path, "chief.log").read_text()
    finished = time.time()

    state = json.loads((tmp_path / "search" / "oracle.json").read_text())
    assert sorted(state["end_order"]) == sorted(state["trials"]) and len(state["trials"]) == trials
    assert all(trial["status"] == "COMPLETED" for trial in state["trials"].values())
    done = overs(tmp_path)
    assert finished - max(done.values()) < 30
    asked = {trial["hyperparameters"]["values"]["x"] for trial in state["trials"].values()}
    assert {x for _, x in fits(tmp_path, "end")} == asked and len(asked) == trials
    assert len(fits(tmp_path, "begin")) > trials, "no kill met a trial"
    again = [x for when, x in fits(tmp_path, "begin") if when > done.get(x, np.inf)]
    assert again == [], "trials that were run when they were over"
    assert list(processes(tmp_path)) == []


@pytest.mark.slow
def test_workers_on_other_machines_outlive_their_chief(tmp_path):
    """They are started by hand; trials that ran when the chief was killed are neither given up nor run again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free.getsockname()[1])}

    def start(name):
        return program(tmp_path, "6", "8", log=f"{name}.log", KERASTUNER_TUNER_ID=name, **address)

    chief, *workers = map(start, ("chief", "worker0", "worker1"))
    log = tmp_path / "fits.txt"
    while not log.exists() or len(fits(tmp_path, "begin")) < 2:
        time.sleep(0.1)
    chief.kill()
    chief.wait()
    chief = start("chief")
    assert [process.wait(timeout=300) for process in (chief, *workers)] == [0, 0, 0]
    state = json.loads((tmp_path / "search" / "oracle.json").read_text())
    assert [trial["status"] for trial in state["trials"].values()] == ["COMPLETED"] * 6
    assert len(fits(tmp_path, "begin")) == len(fits(tmp_path, "end")) == 6


if __name__ == "__main__":
    main(*sys.argv[1:])

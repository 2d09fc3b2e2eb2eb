"""Oracles lose no trial and run none twice, whoever dies and whatever message is the last one."""

import errno
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.oracles import CELLS, RATES, Clock, assert_complete, begin, ended, play, values_of

from tfcharlm.tuning import make_oracle
from tfcharlm.tuning.fault_tolerance import KINDS
from tfcharlm.tuning.fault_tolerance.leases import claim, process_of


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


@pytest.mark.parametrize("kind", ["random", "hyperband", "bayesian"])
def test_draws_are_near_the_defaults(tmp_path, kind):
    # As many as Hyperband draws before it repeats the best of them.
    options = {"num_initial_points": 9} if kind == "bayesian" else {}
    first, *others = values_of(play(begin(tmp_path / "search", kind, trials=9, **options), workers=["tuner0"]))
    names = {"cell": "lstm", "rate": 0.5, "units": 2}
    assert names.items() <= first.items(), "the defaults"
    # Draws from the whole space would have a third of them.
    assert 0.45 < np.mean([values[name] == first[name] for values in others for name in names]) < 0.9
    assert len({tuple(values[name] for name in names) for values in [first, *others]}) > 5


def test_an_exhausted_space_ends_the_search(tmp_path):
    oracle = make_oracle("random", tmp_path / "search", trials=50)
    oracle._set_project_dir(str(tmp_path), "search")
    space = oracle.get_space()
    space.Choice("rate", RATES)
    space.Fixed("units", 2)
    oracle.update_space(space)
    assert_complete(play(oracle), 3)


@pytest.mark.parametrize("seed", range(3))
def test_a_small_space_is_searched_to_its_last_corner(tmp_path, seed):
    oracle = make_oracle("random", tmp_path / "search", trials=50, seed=seed)
    oracle._set_project_dir(str(tmp_path), "search")
    space = oracle.get_space()
    # Draws that keep half of the defaults reach the corner opposite to them once in a thousand times.
    for name in ("rate", "units", "layers", "dropout", "batch_size"):
        space.Choice(name, [0.5, 0.25])
    space.Fixed("cell", "lstm")
    oracle.update_space(space)
    assert_complete(play(oracle), 32)


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


def test_a_worker_without_progress_loses_its_trial_and_a_slow_one_does_not(tmp_path):
    """All of them send heartbeats. What counts is how long a trial has the same number of steps."""
    clock, expired = Clock(), []
    oracle = begin(tmp_path / "search", clock=clock, stall_seconds=60)
    oracle.on_expired = expired.append
    # After how many seconds the first, second, ... step is over; the last one hangs.
    steps = {"slow": [50, 105, 160, 215, 270, 325, 380], "compiles": [350, 380], "hangs": [20], "hangs at once": []}
    trials, lost = {worker: oracle.create_trial(worker) for worker in steps}, {}
    began = clock.now
    for now in clock.ticks(395):
        oracle.expire()
        if now % 5 == 0:
            for worker, over in steps.items():
                done = sum(second <= now - began for second in over)
                if oracle.get_trial(claim(trials[worker].trial_id, worker), done).status == "INVALID":
                    lost.setdefault(worker, now - began)
    assert sorted(oracle.ongoing_trials) == ["compiles", "slow"] and expired == ["hangs", "hangs at once"]
    # 60 s after the step was heard of, at 20; six times as long at the start.
    assert {worker: round(after, -1) for worker, after in lost.items()} == {"hangs": 80, "hangs at once": 360}
    assert oracle.deaths == {trials["hangs"].trial_id: 1, trials["hangs at once"].trial_id: 1}


def test_a_worker_that_waits_for_a_trial_makes_no_steps(tmp_path):
    clock = Clock()
    oracle = begin(tmp_path / "search", trials=1, clock=clock, stall_seconds=1)
    trial = oracle.create_trial("worker0")
    for number, _ in enumerate(clock.ticks(60)):
        oracle.expire()
        assert oracle.create_trial("worker1").status == "IDLE"
        assert oracle.get_trial(claim(trial.trial_id, "worker0"), number).status == "RUNNING"
    oracle.end_trial(ended(trial, "worker0"))
    assert_complete(play(oracle), 1)


def test_a_process_that_comes_twice(tmp_path):
    """The last process of a worker is the worker: it gets the trial, and the earlier one is told."""
    oracle = begin(tmp_path / "search", trials=2)
    first, second = process_of("worker0"), process_of("worker0")
    trial = oracle.create_trial(first)
    again = oracle.create_trial(second)
    assert (again.trial_id, again.status) == (trial.trial_id, "RUNNING")
    assert oracle.get_trial(claim(trial.trial_id, first)).status == "INVALID"
    oracle.end_trial(ended(trial, first, value=0.1))
    assert oracle.end_order == []
    refused = oracle.create_trial(first)
    assert refused.status == "STOPPED" and refused.message.startswith("another process is worker0, too; give each")
    oracle.end_trial(ended(again, second))
    assert_complete(play(oracle, workers=[second]), 2)


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
    assert messages == [f"trial {trial.trial_id} raised and is tried once more: OSError: the disk is away"]
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


# Keras Tuner takes the minimum of losses that are all NaN.
@pytest.mark.filterwarnings("ignore:All-NaN axis encountered:RuntimeWarning")
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
    # A bracket with failed trials continues to its last round.
    assert [oracle.trials[info].hyperparameters["tuner/round"] for info in oracle.start_order].count(2) > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_fails_no_trial(tmp_path, number):
    directory = tmp_path / "search"
    oracle = begin(directory)
    oracle.end_trial(ended(oracle.create_trial("worker0"), "worker0"))
    trial = oracle.create_trial("worker0")
    error = OSError(number, os.strerror(number), "best.weights.h5")
    oracle.end_trial(ended(trial, "worker0", "INVALID", message=f"Traceback\nOSError: {error}\n"))
    assert "the disk is full" in oracle.stopped_because and oracle.create_trial("worker0").status == "STOPPED"
    assert oracle.is_over() and oracle.raised == []
    assert_complete(play(begin(directory, reload=True)), 7)


def test_a_disk_that_is_full_for_the_state_ends_the_search_in_one_line(tmp_path, monkeypatch):
    directory = tmp_path / "search"
    oracle = begin(directory)
    oracle.end_trial(ended(oracle.create_trial("worker0"), "worker0"))
    with monkeypatch.context() as patch:
        patch.setattr(oracle.file, "save", lambda state: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
        assert oracle.create_trial("worker0").status == "STOPPED"
    assert oracle.stopped_because.startswith("the disk is full") and "\n" not in oracle.stopped_because
    assert_complete(play(begin(directory, reload=True)), 7)


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


def test_when_the_time_is_up_running_trials_continue_and_none_starts(tmp_path):
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

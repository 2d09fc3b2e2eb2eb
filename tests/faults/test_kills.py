"""Processes that train are killed, at random moments and at every call of a save; the run must end as if none had been.

The first part leaves out of a checkpoint what belongs there, and must see it.
"""

import subprocess
import sys

import pytest
from helpers.killed_runs import Run, Subject
from helpers.processes import environment

from tfcharlm.checkpoint import progress, state
from tfcharlm.training import AnnealLearningRate, PeriodicEvaluation

COMBINATIONS = [(cell, policy) for cell in ("rnn", "lstm") for policy in ("float32", "mixed_bfloat16")]


@pytest.fixture(scope="module")
def subject():
    return Subject()


@pytest.fixture(scope="module")
def whole(subject, tmp_path_factory):
    return subject.digests(tmp_path_factory.mktemp("whole") / "run")


def without(group):
    """Leaves variables out of checkpoints."""

    def leave_out(monkeypatch):
        original = state.variables_of
        kept = lambda model: {name: group_ for name, group_ in original(model).items() if name != group}  # noqa: E731
        monkeypatch.setattr(state, "variables_of", kept)

    return leave_out


def without_state(kind, **empty):
    """Leaves parts of a callback's state out, or all of it."""

    def leave_out(monkeypatch):
        original = kind.get_state
        if empty:
            monkeypatch.setattr(kind, "get_state", lambda callback: original(callback) | empty)
        else:
            monkeypatch.delattr(kind, "get_state")

    return leave_out


LEFT_OUT = {
    "weights": without("weights"),
    "optimizer": without("optimizer"),
    "carried states": without("states"),
    "dropout counter": without("random"),
    "sums of the metrics": without("metrics"),
    "position in the data": lambda patch: patch.setattr(progress, "_starting_at", lambda data, place: data),
    "state of the schedule": without_state(AnnealLearningRate),
    "best so far": without_state(PeriodicEvaluation, best=None),
    "history": without_state(PeriodicEvaluation, history=[]),
}


@pytest.mark.parametrize("place", [1, 6, 17, 29])
def test_a_run_that_died_ends_as_if_it_had_not(tmp_path, subject, whole, place):
    assert subject.digests(tmp_path / "run", dies_after=place) is None
    assert subject.digests(tmp_path / "run") == whole


@pytest.mark.parametrize("part", LEFT_OUT)
def test_without_any_part_of_a_checkpoint_the_run_ends_otherwise(tmp_path, subject, whole, part, monkeypatch):
    LEFT_OUT[part](monkeypatch)
    assert subject.digests(tmp_path / "run", dies_after=17) is None
    digests = subject.digests(tmp_path / "run")
    different = [name for name in whole if digests[name] != whole[name]]
    print(f"without {part}: other {', '.join(different)}")
    assert different


# -- processes


@pytest.fixture(scope="module")
def program():
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-m", "helpers.killed_runs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        yield process
        process.stdin.close()


@pytest.mark.slow
def test_a_kill_in_a_save(tmp_path, program, rng):
    """Before one of its calls, or in the middle of a write. Every call and random moments are in the slow tests."""
    arguments = {"cell": "rnn", "policy": "float32", "steps": 50}
    whole = Run(program, tmp_path / "whole", **arguments).to_the_end()
    killed = Run(program, tmp_path / "killed", **arguments)
    half = bool(rng.integers(2))
    killed.start(place=int(rng.integers(3 if half else 12)), half=half)
    assert not killed.wait(), "it was not killed"
    assert killed.to_the_end() == whole
    killed.assert_no_more_than_an_interval_lost()
    assert killed.kills_in_saves() == 1


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "policy"), COMBINATIONS)
def test_fifty_random_kills(tmp_path, program, rng, cell, policy):
    """Of runs one after another, until there were fifty."""
    arguments = {"cell": cell, "policy": policy, "steps": 1000}
    whole = Run(program, tmp_path / "whole", **arguments).to_the_end()
    kills = in_saves = runs = 0
    while kills < 50:
        killed = Run(program, tmp_path / f"killed {runs}", **arguments)
        while kills < 50 and killed.digests() is None:
            # Some must live to see the end of a report, which begins with some seconds of tracing.
            kills += killed.kill_after(rng.exponential(1.2))
        assert killed.to_the_end() == whole
        killed.assert_no_more_than_an_interval_lost()
        in_saves, runs = in_saves + killed.kills_in_saves(), runs + 1
    print(f"{cell}, {policy}: {kills} kills, {in_saves} of them in a save; {runs} runs ended as the one without")


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "policy"), COMBINATIONS)
def test_a_kill_at_every_place_of_a_save(tmp_path, program, cell, policy):
    arguments = {"cell": cell, "policy": policy, "steps": 300}
    whole = Run(program, tmp_path / "whole", **arguments).to_the_end()
    places = {}
    for half in (True, False):
        killed, place = Run(program, tmp_path / f"killed {half}", **arguments), 0
        killed.start(place=place, half=half)
        while not killed.wait():
            place += 1
            killed.start(place=place, half=half)
        assert killed.digests() == whole
        killed.assert_no_more_than_an_interval_lost()
        assert killed.kills_in_saves() == place
        places[half] = place
    print(f"{cell}, {policy}: killed before {places[False]} calls of a save and in the middle of {places[True]} writes")
    assert places[False] > 15 and places[True] == 3


@pytest.mark.slow
def test_a_seed_makes_the_run(tmp_path, program):
    arguments = {"cell": "lstm", "policy": "float32"}
    first, second, other = (
        Run(program, tmp_path / name, **arguments, seed=seed).to_the_end()
        for name, seed in (("first", 3), ("second", 3), ("other", 4))
    )
    assert first == second
    assert all(first[name] != other[name] for name in ("weights", "optimizer", "states", "best weights", "history"))

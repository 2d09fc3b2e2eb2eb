"""The size of a run of minutes, tried on the machine as it is."""

import numpy as np
import pytest
from helpers.barnyard import TEXT

from tfcharlm.model import Replicas
from tfcharlm.text import TextSplit
from tfcharlm.training import StepTiming, TrainingConfig, TrainingRun, planning, suggest_config
from tfcharlm.training.sizing import matrix_weights

SPLIT = TextSplit.from_text(TEXT * 20)
SPEED = 2e9


@pytest.fixture
def machine(monkeypatch):
    """Sets how many times slower steps are than products promise; the list grows with every model that is timed."""
    timed, factor = [], [1.0]
    monkeypatch.setattr(planning, "measured_speed", lambda: SPEED)
    # Start-up has taken what `suggest_config` counts for it, and the rest takes no time.
    monkeypatch.setattr(planning.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(planning.Plan, "saving", 0.0)
    monkeypatch.setattr(planning, "STEPS_PER_CHUNK", 0.0)

    def time_steps(model, data):
        timed.append(model)
        config = TrainingConfig(steps=1, units=model.recurrent[0].cell.units)
        tokens = np.prod(next(iter(data))[1].shape)
        return StepTiming(0.5, factor[0] * 6 * matrix_weights(config, len(SPLIT.vocabulary)) * tokens / SPEED, 0.6)

    monkeypatch.setattr(planning, "time_steps", time_steps)
    return factor, timed


def planned(**given):
    earlier = given.pop("earlier", None)
    return TrainingRun.with_suggested_size(SPLIT, {"minutes": 2, **given}, earlier=earlier, elapsed=12.0)


def sizes(seconds, speed):
    return suggest_config(seconds, speed, len(SPLIT.train_ids), len(SPLIT.vocabulary), SPLIT.train_characters)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.45])
def test_a_plan_that_is_about_right_is_kept(machine, factor):
    machine[0][0] = factor
    run = planned()
    assert run.suggested == sizes(120, SPEED) and machine[1] == [run.model]
    assert run.plan.first_choice is None and run.plan.timing.waiting == 0.6
    assert run.plan.tokens / run.plan.possible == pytest.approx(factor)


@pytest.mark.parametrize("factor", [0.05, 0.4, 1.6, 20.0])
def test_a_plan_that_is_wrong_is_made_once_more(machine, factor):
    """For the time that is left after the new model was traced. The weights are those of a run of that size."""
    machine[0][0] = factor
    run = planned(seed=5)
    first, again = sizes(120, SPEED), sizes(119.5, SPEED / factor)
    assert (again["units"] > first["units"]) == (factor < 1) and again["units"] != first["units"]
    assert run.suggested == again and run.plan.first_choice == first and len(machine[1]) == 1
    assert run.plan.tokens / run.plan.possible == pytest.approx(factor)
    other = TrainingRun(SPLIT, TrainingConfig(minutes=2, seed=5, **again))
    for a, b in zip(run.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    tokens = again["batch_size"] * again["sequence_length"]
    expected = factor * 6 * matrix_weights(run.config, len(SPLIT.vocabulary)) * tokens / SPEED
    assert run.plan.timing.step == pytest.approx(expected)


def test_a_start_up_that_took_all_of_the_time_leaves_half_of_it(machine):
    """As in `train`, so the size is not that of a run without any time."""
    run = TrainingRun.with_suggested_size(SPLIT, {"minutes": 2}, elapsed=600.0)
    assert run.plan.tokens / run.plan.possible == pytest.approx(108 / 60)
    assert run.suggested == sizes(59.5 + 12, SPEED)


def test_what_is_given_stays(machine):
    machine[0][0] = 20.0
    given = {"units": 48, "weight_drop": 0.25, "dropout": 0.125, "learning_rate": 0.003}
    run = planned(**given)
    assert run.config == TrainingConfig(minutes=2, **{**sizes(120, SPEED), **given})
    assert run.plan.first_choice is None, "the same again is no other choice"


def test_a_resumed_run_and_a_short_one_are_not_timed(machine):
    machine[0][0] = 20.0
    first = planned()
    assert planned(earlier=first.suggested).config == first.config
    assert planned(minutes=0.5).suggested == sizes(30, SPEED)
    assert len(machine[1]) == 1


def test_no_worker_times_steps_alone(machine, monkeypatch):
    """Another one resumes, so this one, which has no checkpoint, does not wait for it in a step."""
    monkeypatch.setattr(Replicas, "all_gather", lambda self, number: [number, 1])
    machine[0][0] = 20.0
    assert planned().plan.timing is None and not machine[1]


def test_steps_that_cannot_be_timed_leave_the_first_choice(machine, monkeypatch):
    monkeypatch.setattr(planning, "time_steps", lambda model, data: None)
    assert planned().suggested == sizes(120, SPEED)


def test_an_export_takes_as_long_as_python_is_slow():
    saving = [planning.Plan(None if first is None else StepTiming(first, 0.1)).saving for first in (None, 1.0, 5.0)]
    assert saving[0] == saving[1] and saving[2] - saving[1] == pytest.approx(4 * planning.SAVING_PER_FIRST_STEP)

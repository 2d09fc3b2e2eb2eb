"""Budgets and learning rates."""

import itertools
import types

import numpy as np
import pytest
from helpers.barnyard import SPLIT

from tfcharlm import CharLM, RNNCell
from tfcharlm.text import Vocabulary
from tfcharlm.training import AnnealLearningRate, Budget, TrainingConfig, TrainingRun, learning_rate_at


def test_the_schedule_is_fitted_to_the_minutes(monkeypatch):
    """By a clock that advances by 50 ms at every look."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    config = TrainingConfig(minutes=0.5, cell="rnn", units=8, batch_size=4, sequence_length=16)
    history = TrainingRun(SPLIT, config).train().history
    assert [round(evaluation.seconds / 10, 1) for evaluation in history] == [1, 2, 3]
    expected = [learning_rate_at(config.learning_rate, evaluation.seconds / 30) for evaluation in history]
    actual = [evaluation.learning_rate for evaluation in history]
    np.testing.assert_allclose(actual, expected, atol=0.02 * config.learning_rate)


def test_annealing():
    rates = [learning_rate_at(1.0, done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[-1] < 1e-12 and max(rates) > 0.99
    assert all(np.diff(rates[2:]) <= 0), "after the warm-up it only falls"


@pytest.mark.parametrize(("schedule", "half"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule, half):
    rates = [learning_rate_at(2.0, done, schedule) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[50] == pytest.approx(2 * half) and max(rates) > 1.95
    assert rates[-1] == pytest.approx(0 if half < 1 else 2) and all(np.diff(rates[2:]) <= 0)


def test_the_schedule_starts_after_start_up_and_the_first_step():
    """By the clock of a budget that is half spent after the first step."""
    clock = iter([0.0, 5.0, *np.linspace(5.0, 10.0, 200)])
    budget = Budget(seconds=10, clock=lambda: next(clock))
    anneal = AnnealLearningRate(1.0, budget)
    model = CharLM(Vocabulary("ab"), [RNNCell(2)])
    model.compile()
    anneal.set_model(model)
    rates = []
    for batch in range(60):
        anneal.on_train_batch_begin(batch)
        rates.append(float(model.optimizer.learning_rate.numpy()))
        anneal.on_train_batch_end(batch)
    assert rates[0] < 0.01 and max(rates) > 0.99 and int(np.argmax(rates)) < 6
    assert rates[-1] < 0.5 and all(np.diff(rates[6:]) <= 0)


@pytest.mark.parametrize("unit", ["seconds", "steps"])
def test_a_shortened_budget_always_ends(unit, rng):
    """Also if more is reserved afterwards, or if nothing was left."""
    clock = [0.0]
    for _ in range(200):
        total, used, reserved = rng.uniform(50, 100), rng.uniform(10, 110), rng.uniform(0, 20)
        clock[0] = 0.0
        budget = Budget(**{unit: int(total)}, clock=lambda: clock[0])
        budget.reserved = reserved if unit == "seconds" else 0.0
        clock[0] = used
        done = budget.shorten(back_to=used * rng.uniform(0.05, 1), share=0.5, steps=int(used))
        assert 0 < done <= 1
        if unit == "seconds" and rng.uniform() < 0.5:
            budget.reserved += rng.uniform(0, 60)
        found = []
        for more in np.linspace(0, total, 50):
            clock[0] = used + more
            found.append(budget.fraction_done(int(used + more)))
        assert all(one <= other for one, other in itertools.pairwise(found)) and found[-1] == 1
        resumed = Budget(**{unit: int(total)}, clock=lambda: clock[0])
        resumed.reserved = budget.reserved
        resumed.set_state(budget.get_state())
        assert resumed.fraction_done(int(used)) == budget.fraction_done(int(used))

"""The time that a run keeps for its end."""

import itertools
import types

import numpy as np
import pytest
from helpers.barnyard import SPLIT, TEXT

from tfcharlm.text import TextSplit
from tfcharlm.training import Budget, EndReserve, StepTiming, TrainingConfig, TrainingRun, reserve

CONFIG = {"cell": "rnn", "units": 8, "batch_size": 4, "sequence_length": 16}


def standing(seconds, elapsed=0.0):
    budget = Budget(seconds, clock=lambda: 0.0)
    budget.resume(elapsed)
    return budget


def test_what_is_reserved(rng):
    """By hand: the saving, an evaluation, and the last one, which takes a tenth of the run at most."""
    for _ in range(20):
        seconds, elapsed, saving = rng.uniform([50, 0, 0], [500, 40, 30])
        step, chunks, more = rng.uniform(0.001, 2), *rng.integers(1, 50, 2)
        budget = standing(seconds, elapsed)
        end = EndReserve(budget, chunks, chunks * more, saving, StepTiming(1.0, step))
        chunk = step / 2
        last = min(chunk * chunks * more, max(seconds / 10, chunk * chunks))
        assert budget.reserved == pytest.approx(min(saving + chunk * chunks + last, (seconds - elapsed) / 2), abs=chunk)
        assert chunk * end.last_chunks() == pytest.approx(last, abs=chunk)
        # Those in the course of the run take a tenth, too, unless there is only one.
        evaluations = end.most_evaluations(12)
        assert evaluations == 1 or evaluations * chunks * chunk <= seconds / 10
        assert evaluations == 12 or (evaluations + 1) * chunks * chunk > seconds / 10


def test_every_evaluation_but_the_first_corrects_the_estimate():
    """The first one includes tracing. All workers take the number of the chief."""
    budget = standing(1000)
    end = EndReserve(budget, 10, 200, 5.0, all_gather=lambda number: [2 * number, number])
    assert budget.reserved == 5.0 and end.last_chunks() == 200 and end.most_evaluations(12) == 12
    end.evaluations = types.SimpleNamespace(durations=[], num_evaluations=3)
    # Here the chief's number is twice as large, also that of how much slower saving has become.
    expected = iter([5.0, 5.0, 10 + 0.2 * 210, 10 + 0.2 * 210, 10 + 2.0 * 10 + 100])
    for duration in ([], [50.0], [1.0], [], [10.0]):
        end.evaluations.durations += duration
        end.on_train_batch_end(0)
        assert budget.reserved == pytest.approx(next(expected))
    resumed = EndReserve(other := standing(1000, 600), 10, 200)
    resumed.evaluations = types.SimpleNamespace(durations=[], num_evaluations=12)
    resumed.set_state(end.get_state())
    assert other.reserved == budget.reserved and resumed.last_chunks() == end.last_chunks() == 50
    assert resumed.evaluations.num_evaluations == 3 and resumed.get_state() == end.get_state()


def test_the_only_evaluation_bounds_the_last_one():
    """By hand: 18 s have room for 1.8 s of evaluation; the only one took 0.5 s a chunk, tracing included."""
    end = EndReserve(standing(18), 2, 1000, 5.0)
    end.evaluations = types.SimpleNamespace(durations=[1.0], num_evaluations=1)
    end.on_train_batch_end(0)
    assert end.last_chunks() == 4 and end.budget.reserved == 5.0


@pytest.mark.parametrize(
    ("then", "now", "slower"), [(0.2, 0.6, 2.0), (0.6, 0.2, 1.0), (0.1, 1.0, 3.0), (None, 0.9, 1.0), (0.1, None, 1.0)]
)
def test_saving_takes_longer_if_others_come(monkeypatch, then, now, slower):
    budget = standing(1000)
    end = EndReserve(budget, 10, 20, 8.0, StepTiming(1.0, 0.0, then))
    monkeypatch.setattr(end._waiting, "fraction", lambda: now)
    end.evaluations = types.SimpleNamespace(durations=[0.0, 0.0], num_evaluations=3)
    end._seen = 1
    end.on_train_batch_end(0)
    assert budget.reserved == pytest.approx(8 * slower)


def test_nothing_is_reserved_of_steps():
    budget = Budget(steps=10)
    end = EndReserve(budget, 10, 200, 5.0, StepTiming(1.0, 100.0))
    end.evaluations = types.SimpleNamespace(durations=[9.0, 9.0], num_evaluations=3)
    end.on_train_batch_end(0)
    assert (budget.reserved, budget.fraction_done(5), end.last_chunks(), end.most_evaluations(12)) == (0, 0.5, 200, 12)


@pytest.mark.parametrize(("minutes", "elapsed", "saving", "last"), [(0.5, 3.0, 10.0, 20.0), (0.1, 99.0, 99.0, 4.5)])
def test_training_ends_early_enough_and_even_a_short_run_trains(monkeypatch, minutes, elapsed, saving, last):
    """By a clock that advances by 50 ms at every look: half of what start-up leaves is for training."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    # Evaluations take no time.
    monkeypatch.setattr("tfcharlm.training.evaluation.time", types.SimpleNamespace(monotonic=lambda: 0.0))
    run = TrainingRun(SPLIT, TrainingConfig(minutes=minutes, **CONFIG))
    assert run.running_budget is None
    rates, told = [], []
    result = run.train(elapsed=elapsed, saving=saving, on_step=rates.append, on_last_evaluation=told.append)
    assert result.history[-1].seconds == pytest.approx(last, abs=0.3) and rates[-1] == 1
    assert result.history[-1].learning_rate < 0.05 * run.config.learning_rate
    assert told == [result.val_tokens] == [len(SPLIT.validation_ids)]
    budget = run.running_budget
    assert budget.seconds - budget.elapsed() == pytest.approx(60 * minutes - last, abs=0.7)


def test_a_long_held_out_text_is_read_in_part(monkeypatch):
    """The loss is that of its first tokens, by the model itself; the number says how many."""
    split = TextSplit.from_text(TEXT * 2, validation_fraction=0.75)
    monkeypatch.setattr("tfcharlm.training.run.EVALUATION_CHUNKS", 3)
    monkeypatch.setattr(EndReserve, "last_chunks", lambda self: 5)
    result = TrainingRun(split, TrainingConfig(steps=4, **CONFIG)).train()
    assert result.val_tokens == 5 * 4 * 16 < len(split.validation_ids)
    total, targets = 0.0, 0
    ids = split.validation_ids[: result.val_tokens]
    # Four rows, each of which starts where the last one ended.
    length = -(-(len(ids) - 1) // 4)
    for first in range(0, len(ids) - 1, length):
        row = ids[first : first + length + 1]
        logits = result.model.step(np.asarray(row)[None, :-1], result.model.initial_state(1))[0].numpy()[0]
        logits = logits.astype(np.float64)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(row) - 1), row[1:]]
        total, targets = total + losses.sum(), targets + len(losses)
    assert result.val_loss == pytest.approx(total / targets, rel=1e-5)


def test_the_shares_leave_most_of_the_time_for_training():
    assert reserve.LAST_SHARE + reserve.PERIODIC_SHARE <= 0.25

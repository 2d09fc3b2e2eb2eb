"""The progress bar of a run, on a terminal that is a string."""

import io
import types

import pytest
import rich.console

from tfcharlm.commands import progress
from tfcharlm.training import Plan, StepTiming


class Run:
    """What the bar asks of a run: 3 x 5 tokens in a step, each of two characters, 300 seconds."""

    def __init__(self, minutes):
        self.config = types.SimpleNamespace(batch_size=3, sequence_length=5, minutes=minutes)
        train = types.SimpleNamespace(num_tokens=700)
        self.split = types.SimpleNamespace(kind="stream", train=train, train_characters=1400)
        self.model = types.SimpleNamespace(get_metrics_result=lambda: {"bits_per_character": 2.3456})
        self.left, self.time = None, 0.0
        seconds = None if minutes is None else 60 * minutes
        self.running_budget = types.SimpleNamespace(seconds=seconds, elapsed=self.elapsed)

    def elapsed(self):
        """`left` is easier to read in a test."""
        return self.time if self.left is None else self.running_budget.seconds - self.left


@pytest.fixture
def shown(monkeypatch):
    """Makes `(bar, run, what was written, clock)`; the clock is a list of one number."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def make(minutes=None, terminal=True):
        file = io.StringIO()
        console = rich.console.Console(file=file, force_terminal=terminal, width=150, markup=False)
        run = Run(minutes)
        bar = progress.RunProgress(console, run)
        return bar, run, file, clock

    return make


def line(bar, width=150):
    """What the bar shows now."""
    console = rich.console.Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(bar.bar.get_renderable())
    [shown] = capture.get().splitlines()
    assert len(shown) <= width
    return " ".join(shown.split())


def test_all_of_the_bar_fits_into_80_columns(shown):
    """Also in the slowest case: hours, millions of characters. Its clock is that of the run."""
    bar, run, _, clock = shown(minutes=1000)
    with bar:
        assert line(bar, 80).endswith("0% 00:00")
        bar._characters = 5e6
        for step in range(3):
            clock[0] = 100 + step
            run.left = 24_000.0 - step
            bar.on_step(0.6)
        bar.run.model.get_metrics_result = lambda: {"bits_per_character": 12.3456}
        text = line(bar, 80)
        assert text.startswith("training ") and text.endswith("399:58 left 5,000,000 characters/s 2.346 bits")
        assert " 60% 600:02 " in text


def test_minutes_include_the_evaluation_and_the_saving(shown):
    """Training ends before the bar is full. The speed is that of the last ten seconds."""
    bar, run, _, clock = shown(minutes=5)
    with bar:
        for step in range(41):
            clock[0] = 100 + step
            run.left = 300 - 5 * step
            bar.on_step(step / 44)
        text = line(bar)
        assert text.startswith("training ") and "67%" in text and "01:40 left" in text
        assert "30 characters/s" in text and "2.346 bits" in text
        for seconds, name, percent, left in (
            (75, "evaluating", "75%", "01:15 left"),
            (9, "saving", "97%", "00:09 left"),
        ):
            run.left = seconds
            bar.phase(name)
            text = line(bar)
            assert text.startswith(name) and percent in text and left in text and "characters/s" not in text
        run.left = -4.0
        bar.phase("saving")
        assert "100%" in line(bar) and "left" not in line(bar)


def test_other_budgets_end_as_fast_as_they_went(shown):
    """Since this process began: a run that resumes begins in the middle."""
    bar, _, _, clock = shown()
    with bar:
        for clock[0], fraction in ((100, 0.25), (130, 0.5)):
            bar.on_step(fraction)
        assert "50%" in line(bar) and "01:00 left" in line(bar)
        bar.phase("evaluating")
        assert line(bar).startswith("evaluating") and "100%" in line(bar) and "left" not in line(bar)


def test_a_file_has_no_bar(shown):
    bar, run, file, _ = shown(terminal=False)
    run.model = None
    with bar:
        bar.on_step(0.5)
        bar.phase("saving")
        bar.print("a line")
    assert file.getvalue() == "a line\n" and bar.fraction_done == 0.5


def test_samples_are_for_those_who_have_time(shown):
    """With minutes: not beside others, and not if the first one would be made at the end."""
    for minutes, busy, number, done, expected in (
        (None, 0.9, 4, 1.0, True),
        (2, 0.0, 4, 0.9, True),
        (2, 0.0, 4, 1.0, False),
        (2, 0.0, 8, 1.0, True),
        (2, 0.9, 8, 0.5, False),
    ):
        bar, _, file, _ = shown(minutes, terminal=False)
        bar.say_if_busy(busy)
        bar.fraction_done = done
        assert bar.has_time_for_samples(number, 4) == expected
        assert ("no samples" in file.getvalue()) == (minutes == 2 and busy == 0.9)


def test_a_busy_machine_is_told_once(shown, monkeypatch):
    bar, _, file, _ = shown(terminal=False)
    fractions = iter([None, 0.05, 0.5, 0.9])
    monkeypatch.setattr(bar._waiting, "fraction", lambda: next(fractions))
    for _ in range(4):
        bar.on_evaluation()
    assert file.getvalue().count("\n") == 1 and "busy: for 50% of the time" in file.getvalue()


def test_a_changed_plan_is_a_line(shown):
    _, run, _, _ = shown()
    run.plan, run.suggested = Plan(), {"units": 64, "dropout": 0.1, "batch_size": 64}
    assert progress.plan_line(run) is None
    first = {"units": 128, "dropout": 0.0, "batch_size": 64}
    run.plan = Plan(StepTiming(1.0, 0.5), tokens=4e6, possible=1e6, first_choice=first)
    line = progress.plan_line(run)
    assert "0.25 times" in line and "\n" not in line and "--batch-size" not in line
    assert "again: --units 64 --dropout 0.1 (instead of --units 128 --dropout 0)." in line

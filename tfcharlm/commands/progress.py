"""The progress bar of `tfcharlm train`, and its lines about a plan that changed and a machine that is busy."""

import collections
import time
from typing import Any, Self

import rich.progress
import rich.text

from tfcharlm.cli import as_options
from tfcharlm.commands.messages import Messages
from tfcharlm.training import BUSY, CoreWaiting, TrainingRun, tokens_per_step

# The speed is a mean of this many seconds; metrics are read so often.
SPEED_SECONDS, REFRESH_SECONDS = 10, 0.5


class RunProgress:
    """A bar that stays until the model is saved; a context. Only a terminal shows it.

    It shows what the run is doing, how much of it is done, the time it took and still takes, characters per second,
    and the training loss in bits per character.

    Args:
        console: where it is shown.
        run: the `TrainingRun`.
    """

    def __init__(self, console: Messages, run: TrainingRun) -> None:
        self.run, self.console = run, console
        characters_per_token = run.split.train_characters / max(run.split.train.num_tokens, 1)
        self._characters = tokens_per_step(run.split, run.config) * characters_per_token
        self._steps: collections.deque[float] = collections.deque()
        self._first: tuple[float, float] | None = None
        self._read_at = 0.0
        self.fraction_done = 0.0
        self._waiting, self.is_busy = CoreWaiting(), False
        self.bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            _Elapsed(run),
            rich.progress.TextColumn("{task.fields[left]}{task.fields[speed]}{task.fields[loss]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self.bar.add_task("training", total=1.0, left="", speed="", loss="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def print(self, *objects: Any) -> None:
        """Prints above the bar."""
        self.console.print(*objects)

    def on_step(self, fraction_done: float) -> None:
        """Shows that a step was made."""
        now = time.monotonic()
        self.fraction_done = fraction_done
        # A run that resumes begins in the middle.
        self._first = self._first or (now, fraction_done)
        self._steps.append(now)
        while now - self._steps[0] > SPEED_SECONDS:
            self._steps.popleft()
        if self.bar.disable:
            return
        fields = {}
        if now - self._read_at >= REFRESH_SECONDS and len(self._steps) > 1:
            self._read_at = now
            speed = (len(self._steps) - 1) * self._characters / (now - self._steps[0])
            fields["speed"] = f"  {speed:,.0f} characters/s"
            fields["loss"] = f"  {float(self.run.model.get_metrics_result()['bits_per_character']):.3f} bits"
        self._show("training", fraction_done, **fields)

    def phase(self, name: str) -> None:
        """Shows what the run is doing now that the training is over, such as "evaluating"."""
        self._show(name, 1.0, speed="")

    def _show(self, name, training_done, **fields):
        done, seconds, minutes = training_done, None, self.run.config.minutes
        budget = self.run.running_budget
        if budget is not None and budget.seconds is not None and minutes is not None:
            # Evaluating and saving are part of the minutes.
            seconds = budget.seconds - budget.elapsed()
            done = 1 - max(seconds, 0) / (60 * minutes)
        elif self._first and done > self._first[1]:
            began, done_then = self._first
            seconds = (time.monotonic() - began) * (1 - done) / (done - done_then)
        fields["left"] = f"{_clock(seconds)} left" if seconds and seconds > 0 else ""
        self.bar.update(self._task, description=name, completed=done, **fields)

    def on_evaluation(self) -> None:
        """Says once if the machine has become busy since the run began, or since the last evaluation."""
        self.say_if_busy(self._waiting.fraction())

    def say_if_busy(self, waiting: float | None) -> None:
        """Says once that the machine is busy, if the threads have waited for a core for that fraction of the time."""
        if waiting is None or waiting <= BUSY or self.is_busy:
            return
        self.is_busy = True
        # A sample takes seconds to compile, ten and more beside others.
        rest = "" if self.run.config.minutes is None else " There are no samples meanwhile."
        self.print(f"The machine is busy: for {waiting:.0%} of the time, training waits for cores.{rest}")

    def has_time_for_samples(self, number: int, first: int) -> bool:
        """Whether a sample may be drawn after evaluation `number`; the first one, after `first`, compiles a graph."""
        if self.run.config.minutes is None:
            return True
        return not self.is_busy and not (number == first and self.fraction_done == 1)


class _Elapsed(rich.progress.ProgressColumn):
    """The time on the clock of the run, which is also that of its lines."""

    def __init__(self, run: TrainingRun) -> None:
        super().__init__()
        self._run = run

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        budget = self._run.running_budget
        return rich.text.Text(_clock(0 if budget is None else budget.elapsed()), style="progress.elapsed")


def plan_line(run: TrainingRun) -> str | None:
    """One line about a size that was chosen again; None if the first choice was kept."""
    plan = run.plan
    if plan.first_choice is None or not plan.tokens or not plan.possible:
        return None
    changed = {name: value for name, value in run.suggested.items() if value != plan.first_choice[name]}
    return (
        f"In the time that is left, the model would read {plan.possible / plan.tokens:.2g} times the text that it was "
        f"chosen for, so it was chosen again: {as_options(changed)} "
        f"(instead of {as_options({name: plan.first_choice[name] for name in changed})})."
    )


def _clock(seconds):
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"

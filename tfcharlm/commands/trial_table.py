"""The table of trials that `tfcharlm tune` prints while it runs."""

import math
from collections.abc import Sequence
from typing import Any

from tfcharlm.commands.messages import Messages


class TrialTable:
    """Prints a line for every finished trial, with a star if it is the best so far.

    Args:
        console: where to print.
        names: names of the hyperparameters that have a column.
    """

    def __init__(self, console: Messages, names: Sequence[str]) -> None:
        self.console, self.names, self.best = console, names, math.inf
        self._line = "{:>5}  {:>9}" + "".join(f"  {{:>{max(len(name), 8)}}}" for name in names)

    def print_header(self) -> None:
        if not self.console.as_json:
            self.console.print(self._line.format("trial", "val_loss ", *self.names))

    def print_trial(self, trial: Any) -> None:
        """Prints the line of a `keras_tuner.engine.trial.Trial`."""
        loss = trial.status.lower()
        if trial.status == "COMPLETED":
            loss = f"{trial.score:.4f}" + ("*" if trial.score < self.best else " ")
            self.best = min(self.best, trial.score)
        values = (trial.hyperparameters.values.get(name, "") for name in self.names)
        shown = (f"{value:.4g}" if isinstance(value, float) else value for value in values)
        facts = {"trial": trial.trial_id, "status": trial.status, "val_loss": trial.score}
        facts["options"] = {name: trial.hyperparameters.values.get(name) for name in self.names}
        self.console.report("trial", facts, self._line.format(trial.trial_id, loss, *shown))

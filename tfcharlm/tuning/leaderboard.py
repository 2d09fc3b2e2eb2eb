"""The results of a search: one row for every trial, the best first."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus

COLUMNS = ("rank", "trial", "status", "val_loss")


def leaderboard(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Makes a table of trials, the lowest `val_loss` first.

    Args:
        trials: `keras_tuner.engine.trial.Trial`s, such as `oracle.trials.values()`.

    Returns:
        A list of dicts: rank (from 1; None without a loss), trial (its number), status, val_loss (nats per token), and
        a value for each hyperparameter. Trials without a loss are at the end, in the order of their numbers.

    Example:

    >>> import keras_tuner
    >>> from tfcharlm.tuning import leaderboard
    >>> hp = keras_tuner.HyperParameters()
    >>> units = hp.Choice("units", [4, 8])
    >>> trial = keras_tuner.engine.trial.Trial(hp, trial_id="07", status="COMPLETED")
    >>> trial.score = 1.5
    >>> leaderboard([trial])
    [{'rank': 1, 'trial': '07', 'status': 'COMPLETED', 'val_loss': 1.5, 'units': 4}]
    """
    finished = [trial for trial in trials if trial.status == TrialStatus.COMPLETED]
    others = [trial for trial in trials if trial.status != TrialStatus.COMPLETED]
    finished.sort(key=lambda trial: (trial.score, int(trial.trial_id)))
    others.sort(key=lambda trial: int(trial.trial_id))
    rows = []
    for rank, trial in enumerate([*finished, *others], 1):
        is_finished = rank <= len(finished)
        values = (rank if is_finished else None, trial.trial_id, trial.status, trial.score if is_finished else None)
        rows.append(dict(zip(COLUMNS, values, strict=True)) | hyperparameters(trial))
    return rows


def hyperparameters(trial: Trial) -> dict[str, Any]:
    """The hyperparameters of a trial, without the entries that Hyperband adds for itself."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith("tuner/")}


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Writes the rows of a leaderboard as the bytes of a CSV file.

    Example:

    >>> from tfcharlm.tuning import as_csv
    >>> as_csv([{"rank": 1, "trial": "07", "val_loss": 1.5, "units": 4}])
    b'rank,trial,val_loss,units\\n1,07,1.5,4\\n'
    """
    table = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(COLUMNS)
    writer = csv.DictWriter(table, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue().encode()

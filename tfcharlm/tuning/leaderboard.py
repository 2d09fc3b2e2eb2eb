"""What came out of a search: a row for every trial, the best first."""

import csv
import io

from keras_tuner.engine.trial import TrialStatus

COLUMNS = ("rank", "trial", "status", "val_loss")


def leaderboard(trials):
    """Rows of a table, the lowest `val_loss` first; trials without one, in the order of their numbers, at the end.

    Args:
        trials: `keras_tuner.engine.trial.Trial`s, such as `oracle.trials.values()`.

    Returns:
        A list of dicts: rank (from 1; None without a loss), trial (its number), status, val_loss (nats per token), and
        a value for each hyperparameter.

    Example:

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
        done = rank <= len(finished)
        own = (rank if done else None, trial.trial_id, trial.status, trial.score if done else None)
        rows.append(dict(zip(COLUMNS, own, strict=True)) | hyperparameters(trial))
    return rows


def hyperparameters(trial):
    """The values of a trial without those by which Hyperband keeps its books."""
    return {name: value for name, value in trial.hyperparameters.values.items() if not name.startswith("tuner/")}


def as_csv(rows):
    """Rows of a leaderboard as the bytes of a CSV file."""
    table = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(COLUMNS)
    writer = csv.DictWriter(table, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue().encode()

"""The four kinds of search, each of them fault-tolerant: random, Hyperband, Bayesian and grid."""

import itertools
import math
import random
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.tuning.fault_tolerance.oracle import FaultTolerantOracle

# If this many draws give no new combination, values are drawn without a preference. If as many of those give none,
# there is none left.
MAX_REPETITIONS = 200
# The least number of random trials before the Gaussian process chooses.
MIN_RANDOM = 3
# How often a draw keeps the default of a hyperparameter. The defaults suit the text, as far as is known. A draw of all
# values nearly always has a bad one among them.
KEPT = 0.5


class DrawsNearDefaults(FaultTolerantOracle):
    """Mixin: random combinations are those of `new_draw`. Keras Tuner's own need a counter that may be lost."""

    def _random_values(self) -> dict[str, Any] | None:
        return new_draw(self).get("values")


class RandomOracle(FaultTolerantOracle, keras_tuner.Oracle):
    """The defaults first, then draws near them. The n-th draw is a function of `(seed, n)` alone.

    Each hyperparameter keeps its default in half of the draws. Otherwise it has the distribution of Keras Tuner's own
    oracle.

    Reference: Bergstra & Bengio (2012), Random search for hyper-parameter optimization.
    """

    kind = "random"

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        return new_draw(self)


class GridOracle(FaultTolerantOracle, keras_tuner.Oracle):
    """Every combination of values, the defaults first; the last hyperparameter changes fastest.

    A range without a step has ten values, with equal distances or, on a logarithmic scale, equal ratios. Keras Tuner's
    own oracle cannot resume after an interruption: it saves neither the order of its trials nor its queue.
    """

    kind = "grid"

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        known = tried(self)
        for values in self._combinations():
            if key(values) not in known:
                return {"status": TrialStatus.RUNNING, "values": values}
        return {"status": TrialStatus.STOPPED}

    def _combinations(self):
        space = self.hyperparameters.space
        for combination in itertools.product(*map(possible_values, space)):
            yield active_values(space, combination.__getitem__)


class FaultTolerantHyperband(DrawsNearDefaults, HyperbandOracle):
    """Keras Tuner's Hyperband: many short trials; the best third of them continue with three times the epochs.

    Reference: Li et al. (2018), Hyperband: a novel bandit-based approach to hyperparameter optimization.
    """

    kind = "hyperband"

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # Keras Tuner starts the next round of a bracket when all trials of the last round are completed. If one failed,
        # it never starts it. So a failed trial counts here as one with the worst result.
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        try:
            for trial in failed:
                trial.status, trial.score = TrialStatus.COMPLETED, math.inf
            return super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None


class FaultTolerantBayesian(DrawsNearDefaults, BayesianOptimizationOracle):
    """Keras Tuner's Bayesian optimization: it tries where a Gaussian process has the lowest lower confidence bound.

    If that is a combination that was tried before, which would teach nothing new, a random combination is tried.

    Reference: Snoek et al. (2012), Practical Bayesian optimization of machine learning algorithms.
    """

    kind = "bayesian"

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        if not self.trials:
            return new_draw(self)
        best = super().populate_space(trial_id)
        if best["status"] == TrialStatus.RUNNING and key(best["values"]) in tried(self):
            return new_draw(self)
        return best


def make_oracle(
    kind: str,
    directory: Path | str,
    trials: int | None = None,
    seed: int = 0,
    max_epochs: int | None = None,
    **kwargs: Any,
) -> FaultTolerantOracle:
    """Makes a fault-tolerant oracle that minimizes `val_loss`.

    Args:
        kind: "random", "hyperband", "bayesian" or "grid".
        directory: directory of the search.
        trials: total number of trials; None (default) for as many as the space ("grid", "hyperband") and the time
            allow.
        seed: seed of the draws.
        max_epochs: number of epochs of Hyperband's longest trials; None (default) takes 9, of which Keras Tuner makes
            rounds of 1, 3 and 9 epochs. The other kinds ignore it.
        **kwargs: further arguments of `FaultTolerantOracle`.

    Returns:
        A `keras_tuner.Oracle`.

    Raises:
        ValueError: `kind` is not one of these, or `trials` is not above 0.
        ImportError: scikit-learn, which "bayesian" needs, is missing.

    Example:

    >>> from tfcharlm.tuning import make_oracle
    >>> make_oracle("grid", directory="searches/first").kind
    'grid'
    >>> make_oracle("genetic", directory="searches/first")
    Traceback (most recent call last):
    ValueError: kind must be one of random, hyperband, bayesian, grid; received 'genetic'.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; received {kind!r}.")
    if trials is not None:
        trials = POSITIVE_INTEGER.check("trials", trials)
    # Keras Tuner takes a seed of 0 as if none were given.
    kwargs = {"directory": directory, "trials": trials, "seed": seed % (2**32 - 1) + 1} | kwargs
    if kind == "hyperband":
        kwargs["max_epochs"] = max_epochs or 9
    if kind == "bayesian" and trials is not None:
        # With Keras Tuner's default, three for each hyperparameter, a short search would have random trials only.
        kwargs["num_initial_points"] = max(MIN_RANDOM, trials // 3)
    try:
        return KINDS[kind](**kwargs)
    except ImportError as error:
        raise ImportError('a Bayesian search needs scikit-learn; type pip install "tfcharlm[bayesian]"') from error


KINDS: dict[str, type[FaultTolerantOracle]] = {
    oracle.kind: oracle for oracle in (RandomOracle, FaultTolerantHyperband, FaultTolerantBayesian, GridOracle)
}


def new_draw(oracle: FaultTolerantOracle) -> dict[str, Any]:
    """The defaults first, then the first draw near them that is new: the n-th is a function of `(seed, n)`."""
    if not oracle.trials:
        return {"status": TrialStatus.RUNNING, "values": defaults(oracle)}
    known, space = tried(oracle), oracle.hyperparameters.space
    near_defaults = len(known) + MAX_REPETITIONS
    for draw in range(near_defaults + MAX_REPETITIONS):

        def sample(index: int, seed: str = f"{oracle.seed} {draw}", kept: float = KEPT * (draw < near_defaults)) -> Any:
            hp = space[index]
            is_kept = random.Random(f"{seed} {hp.name} kept").random() < kept
            return hp.default if is_kept else hp.random_sample(f"{seed} {hp.name}")

        values = active_values(space, sample)
        if key(values) not in known:
            return {"status": TrialStatus.RUNNING, "values": values}
    return {"status": TrialStatus.STOPPED}


def defaults(oracle: FaultTolerantOracle) -> dict[str, Any]:
    """The combination that every search tries first, so that the leaderboard shows what the search has gained."""
    space = oracle.hyperparameters.space
    return active_values(space, lambda index: space[index].default)


def tried(oracle: FaultTolerantOracle) -> set[Hashable]:
    """The keys of all combinations that have been handed out."""
    return {key(trial.hyperparameters.values) for trial in oracle.trials.values()}


def key(values: Mapping[str, Any]) -> Hashable:
    """A combination of values, without the entries that Hyperband adds for itself."""
    return frozenset((name, value) for name, value in values.items() if not name.startswith("tuner/"))


def active_values(space: list, value_of: Callable[[int], Any]) -> dict[str, Any]:
    """Values by name; hyperparameters whose condition does not hold are left out."""
    hyperparameters = keras_tuner.HyperParameters()
    for index, hp in enumerate(space):
        hyperparameters.merge([hp])
        if hyperparameters.is_active(hp):
            hyperparameters.values[hp.name] = value_of(index)
    return hyperparameters.values


def possible_values(hp: Any) -> list:
    """The values that a hyperparameter can have, its default first."""
    values = list(hp.values)
    return [hp.default, *sorted(set(values) - {hp.default}, key=values.index)]

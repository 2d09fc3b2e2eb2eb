"""The four kinds of search: random, Hyperband, Bayesian, grid; each one durable."""

import itertools
import math

import keras_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.tuning.fault_tolerance.oracle import FaultTolerantOracle

# So many draws that give nothing new mean that there is nothing new.
MAX_REPETITIONS = 200
# Results that a Gaussian process has before it is asked.
MIN_RANDOM = 3


class RandomOracle(FaultTolerantOracle, keras_tuner.Oracle):
    """The defaults first, then values drawn independently; the n-th draw is a function of (seed, n), whoever asks.

    Keras Tuner's own draws the same distribution from a counter that only its state file knows.

    Reference: Bergstra & Bengio (2012), Random search for hyper-parameter optimization.
    """

    kind = "random"

    def populate_space(self, trial_id):
        return new_draw(self)


class GridOracle(FaultTolerantOracle, keras_tuner.Oracle):
    """Every combination of values, the defaults first; the last hyperparameter changes fastest.

    A number without a step has ten values, at equal distances or equal ratios. Keras Tuner's own oracle cannot go on
    after an interruption: it saves neither the order of its trials nor its queue.
    """

    kind = "grid"

    def populate_space(self, trial_id):
        known = tried(self)
        for values in self._combinations():
            if key(values) not in known:
                return {"status": TrialStatus.RUNNING, "values": values}
        return {"status": TrialStatus.STOPPED}

    def _combinations(self):
        space = self.hyperparameters.space
        for combination in itertools.product(*map(possible_values, space)):
            yield active_values(space, combination.__getitem__)


class FaultTolerantHyperband(FaultTolerantOracle, HyperbandOracle):
    """Keras Tuner's Hyperband: many short trials, the best third of which go on with three times the epochs.

    Reference: Li et al. (2018), Hyperband: a novel bandit-based approach to hyperparameter optimization.
    """

    kind = "hyperband"

    def populate_space(self, trial_id):
        # Keras Tuner begins a bracket's next round when all trials of the last one are completed, and leaves the
        # bracket as it is if one failed. Here a trial that failed has lost.
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        try:
            for trial in failed:
                trial.status, trial.score = TrialStatus.COMPLETED, math.inf
            drawn = super().populate_space(trial_id)
            if not self.trials:
                drawn["values"] |= defaults(self)
            return drawn
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None


class FaultTolerantBayesian(FaultTolerantOracle, BayesianOptimizationOracle):
    """Keras Tuner's Bayesian optimization: a Gaussian process of the results, and its lower confidence bound.

    Where that is lowest at a combination that was tried before, which says nothing new, a random one is tried.

    Reference: Snoek et al. (2012), Practical Bayesian optimization of machine learning algorithms.
    """

    kind = "bayesian"

    def populate_space(self, trial_id):
        if not self.trials:
            return new_draw(self)
        best = super().populate_space(trial_id)
        if best["status"] == TrialStatus.RUNNING and key(best["values"]) in tried(self):
            return new_draw(self)
        return best


def make_oracle(kind, directory, trials=None, seed=0, max_epochs=None, **kwargs):
    """An oracle that minimizes `val_loss`.

    Args:
        kind: "random", "hyperband", "bayesian" or "grid".
        directory: of the search.
        trials: how many in all; None for as many as the space (grid, hyperband) and the time allow.
        seed: of the draws.
        max_epochs: the longest trial of "hyperband", in epochs; 9 (two rounds of thirds) if it is not given.
        **kwargs: of `FaultTolerantOracle`.

    Returns:
        A `keras_tuner.Oracle`.

    Raises:
        ValueError: there is no such kind, or `trials` is not above 0.
        ImportError: scikit-learn, which "bayesian" needs, is missing.

    Example:

    >>> make_oracle("genetic", directory="searches/first")
    Traceback (most recent call last):
    ValueError: the kind of a search must be one of random, hyperband, bayesian, grid; received 'genetic'.
    """
    if kind not in KINDS:
        raise ValueError(f"the kind of a search must be one of {', '.join(KINDS)}; received {kind!r}.")
    if trials is not None:
        trials = POSITIVE_INTEGER.check("trials", trials)
    # Keras Tuner takes 0 for no seed.
    kwargs = {"directory": directory, "trials": trials, "seed": seed % (2**32 - 1) + 1} | kwargs
    if kind == "hyperband":
        kwargs["max_epochs"] = max_epochs or 9
    if kind == "bayesian" and trials is not None:
        # Keras Tuner's default, three for each hyperparameter, would leave a short search nothing but random draws.
        kwargs["num_initial_points"] = max(MIN_RANDOM, trials // 3)
    try:
        return KINDS[kind](**kwargs)
    except ImportError as error:
        raise ImportError('a Bayesian search needs scikit-learn: pip install "tfcharlm[bayesian]"') from error


KINDS = {oracle.kind: oracle for oracle in (RandomOracle, FaultTolerantHyperband, FaultTolerantBayesian, GridOracle)}


def new_draw(oracle):
    """The defaults, then the first random combination that has not been given out: a function of (seed, n)."""
    if not oracle.trials:
        return {"status": TrialStatus.RUNNING, "values": defaults(oracle)}
    known, space = tried(oracle), oracle.hyperparameters.space
    for draw in range(len(known) + MAX_REPETITIONS):
        seed = f"{oracle.seed} {draw}"
        values = active_values(
            space, lambda index, seed=seed: space[index].random_sample(f"{seed} {space[index].name}")
        )
        if key(values) not in known:
            return {"status": TrialStatus.RUNNING, "values": values}
    return {"status": TrialStatus.STOPPED}


def defaults(oracle):
    """What every search tries first: the table then shows what it was worth."""
    space = oracle.hyperparameters.space
    return active_values(space, lambda index: space[index].default)


def tried(oracle):
    """The keys of all combinations that have been given out."""
    return {key(trial.hyperparameters.values) for trial in oracle.trials.values()}


def key(values):
    return frozenset(values.items())


def active_values(space, value_of):
    """Values by name, without those of hyperparameters whose condition does not hold."""
    hyperparameters = keras_tuner.HyperParameters()
    for index, hp in enumerate(space):
        hyperparameters.merge([hp])
        if hyperparameters.is_active(hp):
            hyperparameters.values[hp.name] = value_of(index)
    return hyperparameters.values


def possible_values(hp):
    """What a hyperparameter can be, its default first."""
    values = list(hp.values)
    return [hp.default, *sorted(set(values) - {hp.default}, key=values.index)]

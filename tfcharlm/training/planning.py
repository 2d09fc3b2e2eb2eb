"""The size of a run of minutes: suggested for the speed of the machine, tried, and suggested once more if need be."""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfcharlm.model import Replicas
from tfcharlm.text import TextSplit
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.lines import suggested_items
from tfcharlm.training.reserve import LAST_SHARE, PERIODIC_SHARE, STEPS_PER_CHUNK
from tfcharlm.training.sizing import SHAPE, START_UP, matrix_weights, measured_speed, suggest_config
from tfcharlm.training.timing import StepTiming, time_steps

if TYPE_CHECKING:
    from tfcharlm.training.run import TrainingRun

LOGGER = logging.getLogger(__name__)
# In shorter runs a trial, and a second model, would cost more than a better size gains.
SHORTEST_TRIED = 45
# Neighboring sizes differ less: 7 and 20 tokens for each parameter gave the same loss (docs/training-recipe.md).
TOLERANCE = 1.5
# An export, a picture and the end of the process are mostly Python, as the first step is.
SAVING, SAVING_PER_FIRST_STEP = 1.0, 4.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the size of a run was chosen.

    Args:
        timing: how long the steps of the first choice took; None if they were not tried, because the run is short,
            resumes, or has too little text.
        tokens: how many tokens the first choice was made for.
        possible: how many tokens it could have read in the time that is left, by `timing`.
        first_choice: the options that were suggested first; None if they were kept.
    """

    timing: StepTiming | None = None
    tokens: float | None = None
    possible: float | None = None
    first_choice: Mapping[str, Any] | None = None

    @property
    def saving(self) -> float:
        """Seconds to keep for saving the model."""
        return SAVING + SAVING_PER_FIRST_STEP * (1.0 if self.timing is None else self.timing.first)


def suggested_options(split: TextSplit, given: Mapping[str, Any], seconds: float, speed: float) -> dict[str, Any]:
    """What `suggest_config` suggests for a split text.

    Args:
        split: a `TextSplit`.
        given: arguments of `TrainingConfig`.
        seconds: of the run.
        speed: floating-point operations per second.
    """
    shape = {name: given[name] for name in SHAPE if name in given}
    sizes = {"tokens": split.train.num_tokens, "vocabulary_size": len(split.vocabulary)}
    suggested = suggest_config(seconds, speed, **sizes, characters=split.train_characters, **shape)
    if split.kind == "lines":
        rows = suggested_items(split.train, suggested["batch_size"], suggested["sequence_length"])
        suggested = {**suggested, "batch_size": rows}
    return suggested


def suggested_config(
    split: TextSplit,
    given: Mapping[str, Any],
    strategy: tf.distribute.Strategy | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> TrainingConfig:
    """The configuration of a run whose model exists; the arguments are those of `TrainingRun.with_suggested_size`."""
    total = 60 * TrainingConfig(**given).minutes  # type: ignore[operator]
    with (strategy or tf.distribute.get_strategy()).scope():
        speed = sum(Replicas().all_gather(measured_speed()))
    suggested = earlier or suggested_options(split, given, total, speed)
    return TrainingConfig(**{**suggested, **given})


def tokens_per_step(split: TextSplit, config: TrainingConfig) -> float:
    """The tokens that a step reads, without padding: of items, a mean."""
    if split.kind == "lines":
        return config.batch_size * split.train.num_tokens / split.train.num_pieces
    return config.batch_size * config.sequence_length


def timed_plan(run: "TrainingRun", earlier: Mapping[str, Any] | None) -> Plan:
    """The plan of a run of minutes that keeps its size: how long its steps take, if there is time to find out.

    Args:
        run: a `TrainingRun`.
        earlier: as for `TrainingRun.with_suggested_size`.
    """
    resumes = max(run.model.replicas.all_gather(int(earlier is not None)))
    if resumes or 60 * (run.config.minutes or 0) < SHORTEST_TRIED:
        return Plan()
    return Plan(time_steps(run.model, run.train_data))


def planned_run(
    make_run: Callable[[TrainingConfig], "TrainingRun"],
    split: TextSplit,
    given: Mapping[str, Any],
    strategy: tf.distribute.Strategy,
    earlier: Mapping[str, Any] | None,
    elapsed: float,
) -> "TrainingRun":
    """The work of `TrainingRun.with_suggested_size`; `make_run` makes a run of a configuration."""
    started = time.monotonic()
    total = 60 * TrainingConfig(**given).minutes  # type: ignore[operator]
    with strategy.scope():
        replicas = Replicas()
    speed = sum(replicas.all_gather(measured_speed()))
    # All workers try, or none of them: a step takes all of them.
    resumes = max(replicas.all_gather(int(earlier is not None)))
    suggested = earlier or suggested_options(split, given, total, speed)
    run = make_run(TrainingConfig(**{**suggested, **given}))
    if resumes or total < SHORTEST_TRIED:
        return run
    timing = time_steps(run.model, run.train_data)
    if timing is None:
        return run
    elapsed = replicas.all_gather(elapsed + time.monotonic() - started)[0]
    config = run.config
    weights = matrix_weights(config, len(split.vocabulary))
    step_tokens = tokens_per_step(split, config)
    planned = speed * max(total - START_UP, 1) / 6 / weights
    LOGGER.info("%.3g operations a second; a step takes %.4g s, the first one %.3g s", speed, timing.step, timing.first)
    left = _training_seconds(run, timing, total - elapsed, total)
    plan = Plan(timing, planned, left / timing.step * step_tokens)
    if 1 / TOLERANCE <= planned / plan.possible <= TOLERANCE:  # type: ignore[operator]
        run.plan = plan
        return run
    # The new model is traced again. `suggest_config` subtracts the start-up that is over.
    seconds = max(left - timing.first, 1) + START_UP
    again = suggested_options(split, given, seconds, 6 * weights * step_tokens / timing.step)
    changed = TrainingConfig(**{**again, **given})
    if changed == config:
        run.plan = plan
        return run
    first_choice = run.suggested
    del run
    run = make_run(changed)
    faster = matrix_weights(changed, len(split.vocabulary)) / weights
    faster *= tokens_per_step(split, changed) / step_tokens
    run.plan = dataclasses.replace(
        plan, first_choice=first_choice, timing=dataclasses.replace(timing, step=timing.step * faster)
    )
    return run


def _training_seconds(run, timing, left, total):
    """Of the seconds that are left, those in which steps can be made."""
    # After a long start-up as in `TrainingRun.train`.
    left = max(left, total / 2)
    chunk = timing.step * STEPS_PER_CHUNK
    some, all_of_them = (int(data.cardinality()) for data in (run.evaluation_data, run.validation_data))
    evaluations = min(PERIODIC_SHARE * total, 12 * chunk * some)
    end = Plan(timing).saving + chunk * some + min(LAST_SHARE * total, chunk * all_of_them)
    return max(left - evaluations - end, left / 4)

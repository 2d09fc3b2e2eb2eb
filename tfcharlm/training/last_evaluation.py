"""The end of a run: the best weights, and their loss on the held-out text."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfcharlm.model import NonFiniteError, fit_temperature
from tfcharlm.training.evaluation import PeriodicEvaluation
from tfcharlm.training.planning import tokens_per_step
from tfcharlm.training.result import INTERRUPTIONS, TrainingDivergedError, TrainingResult

if TYPE_CHECKING:
    from tfcharlm.training.run import TrainingRun


def last_evaluation(
    run: "TrainingRun",
    evaluations: PeriodicEvaluation,
    interruption: BaseException | None,
    chunks: int,
    on_last_evaluation: Callable[[int], object],
) -> TrainingResult:
    """Restores the best weights and evaluates them, as the end of `TrainingRun.train`.

    Args:
        run: a `TrainingRun`.
        evaluations: what `run.fit` returned.
        interruption: what ended the run early, or None. Nothing is evaluated after an interruption.
        chunks: how many chunks of the held-out text are read.
        on_last_evaluation: called before the evaluation with the number of held-out tokens that it reads.

    Returns:
        A `TrainingResult`.

    Raises:
        TrainingDivergedError: the loss is not finite any more, and was not in any evaluation.
    """
    measured, val_tokens, temperature = {}, 0, 1.0
    evaluations.restore_best_weights()
    try:
        if interruption is None:
            all_tokens, all_chunks = run.split.validation.num_tokens, int(run.validation_data.cardinality())
            reads_all = chunks >= all_chunks
            # The last chunk of a stream may have fewer tokens, and those of items have padding.
            some = round(chunks * tokens_per_step(run.split, run.config))
            val_tokens = all_tokens if reads_all else max(2, min(some, all_tokens))
            on_last_evaluation(val_tokens)
            if run.config.fit_temperature and not run.model.replicas.is_distributed:
                temperature = fit_temperature(run.model, run.evaluation_data)
            data = run.validation_data if reads_all else run.held_out(val_tokens)
            measured = run.model.evaluate(data, verbose=0, return_dict=True)
    except INTERRUPTIONS as error:
        interruption = error
    diverged = isinstance(interruption, NonFiniteError) or not math.isfinite(measured.get("loss", 0))
    if diverged and evaluations.best_weights is None:
        raise TrainingDivergedError.after(evaluations.steps + 1, run.config, interruption) from interruption
    return TrainingResult.of(run.model, evaluations, measured, interruption, val_tokens if measured else 0, temperature)

"""The end of a run: the best weights, and their loss on the held-out text."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfcharlm.model import NonFiniteError, WorkerLostError
from tfcharlm.training.evaluation import PeriodicEvaluation
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
    config, measured, val_tokens = run.config, {}, 0
    evaluations.restore_best_weights()
    try:
        if interruption is None:
            val_tokens = min(chunks * config.batch_size * config.sequence_length, len(run.split.validation_ids))
            on_last_evaluation(val_tokens)
            measured = run.model.evaluate(run.held_out(val_tokens), verbose=0, return_dict=True)
    except INTERRUPTIONS as error:
        interruption = error
    diverged = isinstance(interruption, NonFiniteError) or not math.isfinite(measured.get("loss", 0))
    if diverged and evaluations.best_weights is None:
        rate = config.learning_rate
        raise TrainingDivergedError(
            f"the training diverged within {evaluations.steps + 1} batches; give a lower learning_rate than "
            f"{rate:g}, such as learning_rate={rate / 4:g}." + (f" It ended at {interruption}" if interruption else "")
        ) from interruption
    return TrainingResult(
        model=run.model,
        history=tuple(evaluations.history),
        steps=evaluations.steps,
        val_loss=measured.get("loss"),
        val_bits_per_character=measured.get("bits_per_character"),
        interrupted=interruption is not None,
        failure=str(interruption) if isinstance(interruption, (WorkerLostError, NonFiniteError)) else None,
        val_tokens=val_tokens if measured else 0,
    )

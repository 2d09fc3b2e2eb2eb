"""What a training run ends with."""

import dataclasses
from collections.abc import Mapping
from typing import Self

from tfcharlm.model import CharLM, NonFiniteError, WorkerLostError
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.evaluation import Evaluation, PeriodicEvaluation

# What ends a run before its budget is used up.
INTERRUPTIONS = (KeyboardInterrupt, WorkerLostError, NonFiniteError)


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What `TrainingRun.train` returns.

    Args:
        model: the model, with the weights of its best evaluation.
        history: the learning curve, a tuple of `Evaluation`.
        steps: how many batches the run has trained on.
        val_loss: loss on the first `val_tokens` of the held-out text, in nats per token; None if the run was
            interrupted before it was measured.
        val_bits_per_character: the same in bits per character.
        interrupted: whether the run ended before its budget was used up and its loss was measured.
        ended_early: whether the run ended before its budget was used up, because more training made the model worse.
        failure: one line if a lost worker, or numbers that were not finite, interrupted the run; otherwise None.
        val_tokens: how many tokens `val_loss` was measured on: all that are held out, unless that would have taken more
            than a tenth of a budget of minutes. 0 if it was not measured.
        temperature: what the logits were divided by after training; 1 if nothing was fitted.
    """

    model: CharLM
    history: tuple[Evaluation, ...]
    steps: int
    val_loss: float | None
    val_bits_per_character: float | None
    interrupted: bool
    ended_early: bool = False
    failure: str | None = None
    val_tokens: int = 0
    temperature: float = 1.0

    @classmethod
    def of(
        cls,
        model: CharLM,
        evaluations: PeriodicEvaluation,
        measured: Mapping[str, float],
        interruption: BaseException | None,
        val_tokens: int,
        temperature: float = 1.0,
    ) -> "TrainingResult":
        """The result of a run.

        Args:
            model: with its best weights.
            evaluations: of the run.
            measured: the last evaluation, by name; empty if there was none.
            interruption: what ended the run early, or None.
            val_tokens: how many tokens the last evaluation read.
            temperature: what the logits were divided by.
        """
        return cls(
            model=model,
            history=tuple(evaluations.history),
            steps=evaluations.steps,
            val_loss=measured.get("loss"),
            val_bits_per_character=measured.get("bits_per_character"),
            interrupted=interruption is not None,
            ended_early=interruption is None and evaluations.ended_early,
            failure=str(interruption) if isinstance(interruption, (WorkerLostError, NonFiniteError)) else None,
            val_tokens=val_tokens,
            temperature=temperature,
        )


class TrainingDivergedError(ArithmeticError):
    """The loss is not finite any more, and there are no weights worth keeping."""

    @classmethod
    def after(cls, batches: int, config: TrainingConfig, interruption: BaseException | None) -> Self:
        """The error of a run that diverged within so many batches."""
        rate = config.learning_rate
        return cls(
            f"the training diverged within {batches} batches; give a lower learning_rate than {rate:g}, such as "
            f"learning_rate={rate / 4:g}." + (f" It ended at {interruption}" if interruption else "")
        )

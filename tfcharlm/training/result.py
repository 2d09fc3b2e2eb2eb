"""What a training run ends with."""

import dataclasses
from typing import Self

from tfcharlm.model import CharLM
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What `TrainingRun.train` returns.

    Args:
        model: the model, with the weights of its best evaluation.
        history: the learning curve, a tuple of `Evaluation`.
        steps: how many batches the run has trained on.
        val_loss: loss on all of the held-out text, in nats per token; None if the run was interrupted before it was
            measured.
        val_bits_per_character: the same in bits per character.
        interrupted: whether the run ended before its budget was used up and its loss was measured.
        ended_early: whether the run ended before its budget was used up, because more training made the model worse.
        failure: one line if a lost worker, or numbers that were not finite, interrupted the run; otherwise None.
    """

    model: CharLM
    history: tuple[Evaluation, ...]
    steps: int
    val_loss: float | None
    val_bits_per_character: float | None
    interrupted: bool
    ended_early: bool = False
    failure: str | None = None


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

"""What a training run ends with."""

import dataclasses

from tfcharlm.model import CharLM, NonFiniteError, WorkerLostError
from tfcharlm.training.evaluation import Evaluation

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
        failure: one line if a lost worker, or numbers that were not finite, interrupted the run; otherwise None.
        val_tokens: how many tokens `val_loss` was measured on: all that are held out, unless that would have taken more
            than a tenth of a budget of minutes. 0 if it was not measured.
    """

    model: CharLM
    history: tuple[Evaluation, ...]
    steps: int
    val_loss: float | None
    val_bits_per_character: float | None
    interrupted: bool
    failure: str | None = None
    val_tokens: int = 0


class TrainingDivergedError(ArithmeticError):
    """The loss is not finite any more, and there are no weights worth keeping."""

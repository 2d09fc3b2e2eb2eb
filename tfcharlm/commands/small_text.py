"""What a user should know who trains on a small text: what to expect, why a run ended, whether counting is better."""

import math
from typing import Any, NamedTuple

from tfcharlm.analysis import kneser_ney_losses
from tfcharlm.text import TextPart, TextSplit
from tfcharlm.training import TrainingResult

# Below this, samples have many words that do not exist, also after an hour of training.
LITTLE = 100_000
# Counting two million tokens takes about three seconds.
MAX_TOKENS, SECONDS_PER_TOKEN = 2_000_000, 1.5e-6
# With longer contexts the loss on texts of this size hardly changes.
HIGHEST_ORDER = 9


class Baseline(NamedTuple):
    """The best of several n-gram models.

    Args:
        order: n.
        bits_per_character: its loss on the held-out text.
    """

    order: int
    bits_per_character: float


def expectation(split: TextSplit, begins_from_model: bool) -> str | None:
    """A line about what to expect of a small text to train on; None if it is large enough, or consists of items."""
    if split.train_characters >= LITTLE or split.kind == "lines":
        return None
    line = f"{split.train_characters:,} characters to train on are few: expect invented words."
    if begins_from_model:
        return line
    return f"{line} A model trained on more text of the same language helps most: --from MODEL."


def counting_seconds(split: TextSplit) -> float:
    """About how long `kneser_ney_baseline` takes."""
    return SECONDS_PER_TOKEN * split.train.num_tokens if split.train.num_tokens <= MAX_TOKENS else 0.0


def kneser_ney_baseline(split: TextSplit, rows: int) -> Baseline | None:
    """The best Kneser-Ney model of the text, with the order from 1 to 9 that is best on the held-out text.

    It is trained on the same ids as a model of `TrainingRun`. It reads the held-out ids as that model does in
    `TrainingRun.validation_data`: in as many rows, each without the text before it.

    Args:
        split: a `TextSplit`.
        rows: the batch size.

    Returns:
        A `Baseline`; None if the text is larger than two million tokens, for which it would take too long.
    """
    if split.train.num_tokens > MAX_TOKENS:
        return None
    train, held_out = _sequences(split.train, 1), _sequences(split.validation, rows)
    orders = range(1, min(HIGHEST_ORDER, max(map(len, train)) - 1) + 1)
    losses = kneser_ney_losses(train, held_out, len(split.vocabulary), orders)
    order = min(losses, key=losses.__getitem__)
    predicted = [i for sequence in held_out for i in sequence[1:].tolist()]
    characters = math.fsum(split.vocabulary.characters_per_token[i] for i in predicted)
    return Baseline(order, losses[order] * len(predicted) / math.log(2) / characters)


def _sequences(part: TextPart, rows: int) -> list[Any]:
    """The ids of a part as a model reads them, each without the text before it: rows, documents or items."""
    if part.begins is None or part.lengths is None:
        targets = len(part.ids) - 1
        length = -(-targets // rows)
        return [part.ids[begin : begin + length + 1] for begin in range(0, targets, length)]
    # An item is read from the end of the one before it.
    more = int(part.kind == "lines")
    pieces = zip(part.begins.tolist(), part.lengths.tolist(), strict=True)
    return [part.ids[begin : begin + length + more] for begin, length in pieces]


def early_end(result: TrainingResult) -> str | None:
    """A line about a run that ended early because more training made the model worse; None if it did not."""
    if not result.ended_early:
        return None
    best = min(result.history, key=lambda evaluation: evaluation.val_loss)
    if not best.step:
        return "Ended early: training made the validation loss worse. The model is the one that the run began from."
    return (
        "Ended early: more training made the validation loss worse, so the run went back to its best weights, and the "
        f"learning rate fell from there. The best loss is that of {clock(best.seconds)}."
    )


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 02:05."""
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def warning(baseline: Baseline, result: TrainingResult, began_from_model: bool = False) -> str | None:
    """A line about a trained model that is worse than the baseline, with what to do; None if it is better."""
    loss = result.val_bits_per_character
    if loss is None or loss <= baseline.bits_per_character:
        return None
    longer = [] if result.ended_early else ["train longer (--minutes)"]
    other = "train on more text" if began_from_model else "start from a model trained on more text (--from MODEL)"
    advice = ", or ".join([*longer, other])
    return (
        f"Counting is better: on the held-out text a Kneser-Ney {baseline.order}-gram model (order chosen there) has "
        f"{baseline.bits_per_character:.4f} bits per character, this model {loss:.4f}. {advice[0].upper()}{advice[1:]}."
    )

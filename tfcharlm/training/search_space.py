"""What a search tries: values around those that suit the text and the time, or fixed ones."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

# For each option, factors of its suggested value, or what is added to it.
FACTORS: dict[str, tuple[float, ...]] = {
    "units": (0.5, 0.7, 1.4, 2.0),
    "embedding_dim": (0.5, 2.0),
    "dropout": (0.5, 2.0),
    "weight_drop": (0.5, 1.5),
    "weight_decay": (0.5, 2.0),
    "batch_size": (0.5, 2.0),
    "sequence_length": (0.5, 2.0),
}
# Dropout that is suggested as 0 is tried at these, too.
FIRST_DROPOUT = (0.05, 0.1, 0.2)
HIGHEST = {"dropout": 0.7, "weight_drop": 0.7, "weight_decay": 0.9}
# Widths are multiples of this.
WIDTH = 32
# The learning rate is searched between a third and three times the suggested one.
RATE_FACTOR = 3.0
# Options of which few values exist. The suggested one comes first.
OTHERS: dict[str, list] = {"cell": ["lstm", "gru"], "layers": [1, 2], "members": [1, 2, 3]}
# The options that are searched around what suits the text and the time.
SEARCHED_AROUND = (*FACTORS, *OTHERS, "learning_rate")


def space_around(suggested: Mapping[str, Any]) -> dict[str, list]:
    """The values that a search tries around suggested ones.

    Args:
        suggested: options by name, such as `tfcharlm.training.suggested_options` returns them.

    Returns:
        A list of values for each option that is searched. The first one is the suggested value. The learning rate has
        the ends of its range.

    Example:

    >>> from tfcharlm.training import space_around
    >>> space = space_around({"units": 256, "weight_drop": 0.0, "batch_size": 64, "learning_rate": 0.012})
    >>> space["units"], space["weight_drop"], space["batch_size"]
    ([256, 128, 192, 352, 512], [0.0, 0.05, 0.1, 0.2], [64, 32, 128])
    >>> [round(rate, 4) for rate in space["learning_rate"]]
    [0.004, 0.036]
    """
    space: dict[str, list] = {}
    for name, value in suggested.items():
        if name in FACTORS:
            space[name] = list(dict.fromkeys([value, *_others(name, value)]))
    for name, values in OTHERS.items():
        first = suggested.get(name, values[0])
        space[name] = [first, *(value for value in values if value != first)]
    rate = suggested["learning_rate"]
    space["learning_rate"] = [rate / RATE_FACTOR, rate * RATE_FACTOR]
    return space


def _others(name, value):
    if value == 0:
        return FIRST_DROPOUT
    if isinstance(value, int):
        step = WIDTH if name == "units" else 1
        return [max(step, step * round(value * factor / step)) for factor in FACTORS[name]]
    return [round(min(value * factor, HIGHEST[name]), 3) for factor in FACTORS[name]]


def fitting_shapes(
    batch_sizes: Sequence[int],
    lengths: Sequence[int],
    targets: int,
    given: Container[str],
    suggested_length: int | None = None,
) -> tuple[list[int], list[int]]:
    """Drops the shapes of batches for which a text is too short; those that the user chose must fit.

    Args:
        batch_sizes: choices of the number of rows.
        lengths: choices of the number of tokens in a row.
        targets: the number of tokens to predict.
        given: the names of what the user chose.
        suggested_length: the length that suits the text, if the first choices are what suits it; they are kept. None
            (default) if they are the same for every text.

    Returns:
        `(batch_sizes, lengths)`. Every batch size fits with every length.

    Raises:
        ValueError: the text is too short.

    Example:

    >>> from tfcharlm.training import fitting_shapes
    >>> fitting_shapes([16, 32, 64], [32, 64], targets=1500, given=[])
    ([16], [32, 64])
    """
    batch_sizes, lengths = list(batch_sizes), list(lengths)
    if suggested_length is not None:
        # The suggested pair stays.
        if "batch_size" not in given:
            length = suggested_length if "sequence_length" not in given else max(lengths)
            batch_sizes = [rows for rows in batch_sizes if rows * length <= targets] or batch_sizes[:1]
        if "sequence_length" not in given:
            lengths = [length for length in lengths if length * max(batch_sizes) <= targets] or lengths[:1]
    if "sequence_length" not in given:
        lengths = [length for length in lengths if length * min(batch_sizes) <= targets] or lengths[:1]
    if "batch_size" not in given:
        batch_sizes = [rows for rows in batch_sizes if rows * max(lengths) <= targets] or batch_sizes[:1]
    if max(lengths) * max(batch_sizes) > targets:
        raise ValueError(
            f"the text has {targets:,} tokens to train on, too few for batch_size={max(batch_sizes)} with "
            f"sequence_length={max(lengths)}; give smaller ones, such as batch_size=4, sequence_length=16."
        )
    return batch_sizes, lengths

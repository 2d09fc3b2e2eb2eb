"""Which units track what: correlations between activations and features of the text."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfcharlm.analysis.activations import Activations
from tfcharlm.analysis.text_features import FEATURES


class UnitCorrelation(NamedTuple):
    """A unit and how well it tracks a feature.

    Args:
        layer: number of the recurrent layer; 0 is the bottom one.
        kind: name of its array in `Activations`, such as "c".
        unit: number of the unit.
        score: the correlation, from -1 to 1.
    """

    layer: int
    kind: str
    unit: int
    score: float


def correlate_units(
    recorded: Activations,
    features: Mapping[str, Any] | None = None,
    kinds: Iterable[str] | None = None,
    layers: Iterable[int] | None = None,
    count: int = 5,
) -> dict[str, list[UnitCorrelation]]:
    r"""Finds the units whose activations go up and down with features of a text.

    $$ r = \frac{\sum_t (a_t - \bar a)(y_t - \bar y)}{\sqrt{\sum_t (a_t - \bar a)^2 \sum_t (y_t - \bar y)^2}} $$

    This is Pearson's correlation of a unit's activations a with a feature y, and the point-biserial correlation if the
    feature is boolean. It is 0 for a unit or a feature that never changes. The best of many units correlates a little
    with any feature, and more on a short text, so read thousands of tokens.

    Args:
        recorded: `Activations`.
        features: `{name: feature}`, where a feature is an array (characters,) of booleans or numbers, or a function of
            the text that returns one. None (default) takes `FEATURES`: inside quotation marks, at the end of a line,
            position in the line, in the name of a speaker. The state after a token is compared with the feature at the
            last character of the token.
        kinds: names of the arrays to search, such as ("i", "f"). None (default) takes the memory of a cell: "c" if
            there is one, else "h" or all states of any other cell.
        layers: numbers of the layers to search; 0 is the bottom one. None (default) searches all.
        count: number of units to return for each feature.

    Returns:
        `{name: [UnitCorrelation, ...]}`, the strongest correlation first. A negative score means that the unit goes
        down where the feature goes up.

    Raises:
        ValueError: a feature does not have one finite value per character, or the layers have none of the kinds.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.analysis import Activations, correlate_units
    >>> recorded = Activations(tuple("a,b,"), ({"h": np.array([[0.1, 0.2], [0.3, 0.9], [0.2, 0.1], [0.1, 0.9]])},))
    >>> best = correlate_units(recorded, {"comma": lambda text: [character == "," for character in text]}, count=1)
    >>> [correlation.unit for correlation in best["comma"]]
    [1]

    Reference: Karpathy, Johnson & Fei-Fei (2015), Visualizing and understanding recurrent networks.
    """
    text, arrays = recorded.text, _searched(recorded.layers, kinds, layers)
    # A byte that does not complete a character has an empty piece, and the feature has no value for it.
    has_text = np.array([len(piece) > 0 for piece in recorded.pieces], dtype=bool)
    last_characters = np.cumsum([len(piece) for piece in recorded.pieces], dtype=int)[has_text] - 1
    units = [_standardized(array[has_text]) for _, _, array in arrays]
    names = [(layer, kind, unit) for layer, kind, array in arrays for unit in range(array.shape[1])]
    correlations = {}
    for name, feature in (FEATURES if features is None else features).items():
        values = _standardized(_checked(name, feature, text)[last_characters, None])
        scores = np.concatenate([array.T @ values for array in units])[:, 0].clip(-1, 1)
        best = np.argsort(-np.abs(scores), kind="stable")[:count]
        correlations[name] = [UnitCorrelation._make((*names[i], float(scores[i]))) for i in best]
    return correlations


def _searched(recorded, kinds, layers):
    """The arrays to search, as a list of `(layer, kind, array)`."""
    found, numbers = [], range(len(recorded)) if layers is None else layers
    for number in numbers:
        if isinstance(number, bool) or number not in range(len(recorded)):
            raise ValueError(f"layer must be a whole number from 0 to {len(recorded) - 1}; received {number!r}.")
        memory = ("c",) if "c" in recorded[number] else tuple(recorded[number])
        wanted = memory if kinds is None else [kind for kind in kinds if kind in recorded[number]]
        found += [(number, kind, recorded[number][kind]) for kind in wanted]
    if not found:
        known = ", ".join(dict.fromkeys(kind for number in numbers for kind in recorded[number]))
        raise ValueError(f"kinds must be some of {known}; received {kinds!r}.")
    return found


def _standardized(array):
    """Scales columns to mean 0 and norm 1, so that the product of two is their correlation; constant columns are 0."""
    array = np.asarray(array, np.float64)
    varies = array.max(axis=0) > array.min(axis=0)
    centered = np.where(varies, array - array.mean(axis=0), 0.0)
    norms = np.linalg.norm(centered, axis=0)
    return centered / np.where(norms > 0, norms, 1.0)


def _checked(name, feature, text):
    values = np.asarray(feature(text) if callable(feature) else feature, np.float64)
    if values.shape != (len(text),) or not np.all(np.isfinite(values)):
        raise ValueError(
            f"feature {name!r} must have a finite number for each of {len(text)} characters; "
            f"received an array of shape {values.shape}."
        )
    return values

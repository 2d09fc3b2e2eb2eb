"""Which unit keeps track of what: correlations of activations with features of the text."""

from typing import NamedTuple

import numpy as np

from tfcharlm.analysis.text_features import FEATURES


class UnitCorrelation(NamedTuple):
    """A unit and how well it tracks a feature.

    Args:
        layer: number of the recurrent layer, 0 at the bottom.
        kind: which of its arrays, such as "c".
        unit: number of the unit.
        score: the correlation, from -1 to 1.
    """

    layer: int
    kind: str
    unit: int
    score: float


def correlate_units(recorded, features=None, kinds=None, layers=None, count=5):
    r"""The units that go up and down with features of a text.

    $$ r = \frac{\sum_t (a_t - \bar a)(y_t - \bar y)}{\sqrt{\sum_t (a_t - \bar a)^2 \sum_t (y_t - \bar y)^2}} $$

    Pearson's correlation of a unit's activations a with a feature y; with a feature that is true or false it is the
    point-biserial one. A unit or a feature that never changes has 0. The best of many units correlates a little with
    anything, and more on a short text: read thousands of tokens.

    Args:
        recorded: `Activations`.
        features: `{name: array (characters,) of booleans or numbers, or a function of the text that returns it}`. None
            takes `FEATURES`: inside quotation marks, at the end of a line, position in the line, in a speaker's name.
            The state after a token is compared with the feature at the token's last character.
        kinds: names of the arrays to search, such as ("i", "f"). None takes what a cell carries along: "c" where there
            is one, else "h" or the states of another cell.
        layers: numbers of the layers to search, 0 at the bottom; None takes all.
        count: how many units to name.

    Returns:
        `{name of the feature: [UnitCorrelation, ...]}`, the greatest magnitude first; a negative score means that the unit goes
        down where the feature holds.

    Raises:
        ValueError: a feature has another length than the text or is not finite, or the layers have none of the kinds.

    Example:

    >>> from tfcharlm.analysis import Activations
    >>> recorded = Activations(tuple("a,b,"), ({"h": np.array([[0.1, 0.2], [0.3, 0.9], [0.2, 0.1], [0.1, 0.9]])},))
    >>> tracks = correlate_units(recorded, {"comma": lambda text: [character == "," for character in text]}, count=1)
    >>> [track.unit for track in tracks["comma"]]
    [1]

    Reference: Karpathy, Johnson & Fei-Fei (2015), Visualizing and understanding recurrent networks.
    """
    text, arrays = recorded.text, _searched(recorded.layers, kinds, layers)
    # A byte that does not end a character has no piece, and the feature no value there.
    real = np.array([len(piece) > 0 for piece in recorded.pieces], dtype=bool)
    ends = np.cumsum([len(piece) for piece in recorded.pieces], dtype=int)[real] - 1
    units = [_standardized(array[real]) for _, _, array in arrays]
    names = [(layer, kind, unit) for layer, kind, array in arrays for unit in range(array.shape[1])]
    tracks = {}
    for name, feature in (FEATURES if features is None else features).items():
        values = _standardized(_checked(name, feature, text)[ends, None])
        scores = np.concatenate([array.T @ values for array in units])[:, 0].clip(-1, 1)
        best = np.argsort(-np.abs(scores), kind="stable")[:count]
        tracks[name] = [UnitCorrelation(*names[i], float(scores[i])) for i in best]
    return tracks


def _searched(recorded, kinds, layers):
    """A list of the `(layer, kind, array)` to search."""
    found, numbers = [], range(len(recorded)) if layers is None else layers
    for number in numbers:
        if isinstance(number, bool) or number not in range(len(recorded)):
            raise ValueError(f"layer {number!r} is none of 0 to {len(recorded) - 1}.")
        carried = ("c",) if "c" in recorded[number] else tuple(recorded[number])
        wanted = carried if kinds is None else [kind for kind in kinds if kind in recorded[number]]
        found += [(number, kind, recorded[number][kind]) for kind in wanted]
    if not found:
        known = ", ".join(dict.fromkeys(kind for number in numbers for kind in recorded[number]))
        raise ValueError(f"kinds must be some of {known}; received {kinds!r}.")
    return found


def _standardized(array):
    """Columns of mean 0 and norm 1, so that a product of two is their correlation; zeros for those that never vary."""
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
            f"received an array {values.shape}."
        )
    return values

"""Colors for the levels of a value, on a light page and on a dark one, each with an ink that can be read on it."""

import functools
from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]
# The colors of the lowest, the middle and the highest level; those between are mixed.
Ramp = tuple[Color, Color, Color]
LEVELS = 21
LIGHT_PAGE: Color = (255, 255, 255)
DARK_PAGE: Color = (30, 30, 30)


def level_of(values: np.ndarray, low: float, high: float) -> list[int]:
    """The level of each value, from 0 for `low` to LEVELS - 1 for `high`; the middle one if it is not finite."""
    scaled = (np.asarray(values, np.float64) - low) / (high - low)
    scaled = np.where(np.isfinite(scaled), scaled, 0.5)
    return np.rint(scaled * (LEVELS - 1)).astype(int).tolist()


def legend_levels() -> range:
    """The five levels that a legend shows."""
    return range(0, LEVELS, (LEVELS - 1) // 4)


def level_rules(ramp: Ramp, inside: str) -> str:
    """CSS that gives the class `v0` the color of the lowest level, and so on, in the elements of a CSS selector."""
    rules = []
    for level, color in enumerate(_mixed(ramp)):
        ink = max(((0, 0, 0), (255, 255, 255)), key=functools.partial(contrast, color))
        rules.append(f"{inside} .v{level}{{background:{hexadecimal(color)};color:{hexadecimal(ink)}}}\n")
    return "".join(rules)


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    """The contrast ratio of two colors (red, green, blue), from 1 to 21.

    Reference: Web Content Accessibility Guidelines 2.1, relative luminance and contrast ratio.
    """
    darker, lighter = sorted(luminance(color) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: Sequence[int]) -> float:
    """How bright a color is, from 0 for black to 1 for white."""
    part = np.array(color) / 255
    linear = np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def hexadecimal(color: Sequence[int]) -> str:
    """A color as CSS writes it, such as #1e1e1e."""
    return "#" + "".join(f"{part:02x}" for part in color)


def _mixed(ramp):
    """LEVELS colors from the lowest over the middle to the highest one."""
    low, middle, high = map(np.array, ramp)
    positions = np.linspace(-1, 1, LEVELS)
    return [np.rint(middle + abs(x) * ((low if x < 0 else high) - middle)).astype(int) for x in positions]

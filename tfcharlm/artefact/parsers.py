"""Parsers of plain data from a stranger: each accepts values of one kind, within bounds.

A parser is a function `(value, where)`. It returns the object that a value describes, or raises a ValueError that
names `where`, the path of the value.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from tfcharlm.checks import Bounds

MAX_NAME = 256
Parser = Callable[[Any, str], Any]


def refuse(where: str, expected: object, value: object) -> NoReturn:
    raise ValueError(f"{where} must be {expected}; received {value!r:.80}")


def listed(values: Collection[object]) -> str:
    """What is expected where there is a choice; of many values the first ones."""
    most = 6
    return "one of " + ", ".join(map(str, list(values)[:most])) + f", ... ({len(values)} in all)" * (len(values) > most)


def number(bounds: Bounds) -> Parser:
    def parser(value, where):
        if value not in bounds:
            refuse(where, bounds, value)
        return value

    return parser


def whole(low: int, high: int) -> Parser:
    return number(Bounds(low=low, high=high, whole=True))


def one_of(*values: Any) -> Parser:
    def parser(value, where):
        if type(value) not in map(type, values) or value not in values:
            refuse(where, listed(values), value)
        return value

    return parser


def parse_name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable() or "/" in value:
        refuse(where, "a name without a slash", value)
    return value


def optional(parser: Parser) -> Parser:
    return lambda value, where: None if value is None else parser(value, where)


def list_of(parser: Parser, most: int) -> Parser:
    def parse_all(value, where):
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            refuse(where, f"a list of 1 to {most:,}", value)
        return [parser(element, f"{where}[{i}]") for i, element in enumerate(value)]

    return parse_all


def fields(parsers: Mapping[str, Parser], required: Collection[str] | None = None) -> Parser:
    """A parser of a dictionary with no other keys than these. All are required, unless `required` lists some."""

    def parser(value, where):
        if not isinstance(value, dict):
            refuse(where, "an object", value)
        unknown = sorted(value.keys() - parsers.keys())
        missing = sorted(set(parsers if required is None else required) - value.keys())
        if unknown or missing:
            what = f"the unknown key {unknown[0]!r:.60}" if unknown else f"no key {missing[0]!r}"
            raise ValueError(f"{where} has {what}")
        return {key: parsers[key](element, f"{where}.{key}") for key, element in value.items()}

    return parser


def axes(value: Any, where: str) -> int | list[int]:
    axis = whole(-4, 4)
    return list_of(axis, 4)(value, where) if isinstance(value, list) else axis(value, where)


def shape(value: Any, where: str) -> list[int | None]:
    return list_of(optional(whole(1, 2**31)), 4)(value, where)


def anything(value: Any, where: str) -> Any:
    return value

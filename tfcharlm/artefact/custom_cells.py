"""Cells of the user in a configuration: subclasses of `RecurrentCell` that he passes, or that his program registered.

A configuration only has their names. It never says where to find a class, nothing is imported for it, and nothing in it
reaches a function of Keras that makes objects.
"""

from collections.abc import Collection, Mapping
from typing import Any

import keras

from tfcharlm.artefact.parsers import Parser, fields, refuse, whole
from tfcharlm.checks import one_line
from tfcharlm.layers import CELLS, RecurrentCell

# A cell of this package is made by the tables of `config_schema`, under its own name.
PACKAGE = "tfcharlm>"
MAX_DEPTH = 20


def or_custom(
    known: Parser,
    names: Collection[tuple[str, str]],
    arguments: Mapping[str, Parser],
    types: Mapping[str, Parser],
    largest: int,
    custom_objects: Mapping[str, type],
) -> Parser:
    """A parser of cells: of those that `known` parses, and of those of the user.

    Args:
        known: parses the cells of this package and of Keras.
        names: their `(module, class name)`.
        arguments: parsers of the arguments that every `RecurrentCell` has.
        types: parsers of what `config_types` of a class names. All its other arguments must be plain data.
        largest: the largest size of a weight or state along one axis.
        custom_objects: classes by name.
    """
    size = whole(1, largest)

    def parser(value, where):
        if not isinstance(value, dict) or "module" not in value:
            return known(value, where)
        module, class_name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
        is_named = isinstance(module, str | None) and isinstance(class_name, str)
        if not is_named or (module, class_name) in names:
            return known(value, where)
        kind = _find(registered, custom_objects) or _find(class_name, custom_objects)
        if kind is None:
            if (module or "").partition(".")[0] in ("keras", "tfcharlm"):
                return known(value, where)  # which says what is known
            refuse(where, _advice(class_name), registered or class_name)
        config = value.get("config")
        if not isinstance(config, dict):
            refuse(f"{where}.config", "an object", config)
        parsers = {name: arguments.get(name) or types.get(kind.config_types.get(name, ""), _plain) for name in config}
        checked = fields(parsers)(config, f"{where}.config")
        try:
            cell = kind.from_config(checked)
            sizes = [*cell.state_sizes, *(n for shape in cell.weight_shapes(1).values() for n in shape)]
        except Exception as error:  # a class of the user raises errors of any class
            raise ValueError(f"{where} cannot be built: {one_line(error) or type(error).__name__}") from error
        for number in sizes:
            size(number, f"a size of {where}")
        return cell

    return parser


def _find(name, custom_objects):
    if not isinstance(name, str) or name.startswith(PACKAGE):
        return None
    kind = custom_objects.get(name) or keras.saving.get_custom_objects().get(name)
    # Keras's registry has whatever any package has put there.
    return kind if _is_custom(kind) else None


def _is_custom(kind):
    return isinstance(kind, type) and issubclass(kind, RecurrentCell) and kind not in CELLS.values()


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Plain data: Keras makes an object of a dictionary with the name of a class, wherever it is told to get one."""
    if depth > MAX_DEPTH or (isinstance(value, dict) and "class_name" in value):
        refuse(where, "plain data", value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for element in inner:
        _plain(element, where, depth + 1)
    return value


def _advice(name):
    return (
        "a tfcharlm.RecurrentCell that is known: import the module that registers it, or pass "
        f"custom_objects={{{name!r:.80}: {name:.80}}}"
    )

"""`tfcharlm train --config`: the options of a run, read from the training.json of another one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tfcharlm.bookkeeping import read_object
from tfcharlm.cli.corpus_options import typed_separator
from tfcharlm.cli.errors import UserError, one_line_errors
from tfcharlm.training.config import ARCHITECTURE, BUDGETS, OPTIONS, TUNABLE, TrainingConfig

BEGAN_FROM, WEIGHTS = "tfcharlm.began_from", "tfcharlm.weights_sha256"

# The options that are not fields of a configuration: their types in JSON, and what they are called.
TEXT, SWITCH = (str, "a text"), (bool, "true or false")
KINDS: dict[str, tuple[Any, str]] = {
    "corpus": ((str, list), "a name or a path, or a list of them"),
    "lines": SWITCH,
    "join": SWITCH,
    "separator": TEXT,
    "errors": TEXT,
    "license": TEXT,
}
# What a run has found out, and what other options say; none of it is an option.
OUTCOME = (
    "val_loss",
    "val_bits_per_character",
    "interrupted",
    "ended_early",
    "temperature",
    "kneser_ney",
    "item_end",
    "trial",
)


def config_file_option(command: Callable) -> Callable:
    """Adds --config. What the file says is the default of each option, so an option that is typed overrides it."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read,
        help="File with options, such as the training.json in assets.extra of a model. What is typed overrides it.",
    )(command)


def not_counted(context: click.Context, origin: str | None) -> list[str]:
    """The options of the file that do not count.

    They are the budgets, if the user has typed another one. With `--from`, if the run of the file began from random
    weights, they are also what the model has already, and the learning rate, which is lower for a trained model.
    """
    typed = [name for name in BUDGETS if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    options = [name for name in BUDGETS if name not in typed] if typed else []
    if origin is not None and context.meta.get(BEGAN_FROM) is None:
        of_new_models = (*ARCHITECTURE, "learning_rate")
        options += [name for name in of_new_models if context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP]
    return options


def check_origin(context: click.Context, origin: str | None) -> None:
    """Raises a ValueError if the run of the file began from a model, and the user has not said where it is."""
    name = context.meta.get(BEGAN_FROM)
    if name is not None and origin is None:
        raise ValueError(f"the run of --config began from {name}; give the directory of that model with --from.")


def _read(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        found = read_object(path)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; give the training.json of a model with --config.") from None
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    # The record has the name of the model that a run began from, but not the directory that it was in.
    origin = found.pop("from", None)
    if origin is not None:
        context.meta[BEGAN_FROM] = origin.get("model") if isinstance(origin, dict) else origin
        context.meta[WEIGHTS] = origin.get("weights_sha256") if isinstance(origin, dict) else None
    options = {name: value for name, value in found.items() if name not in OUTCOME and value is not None}
    with one_line_errors():
        _check(options, path)
    if isinstance(options.get("corpus"), str):
        options["corpus"] = [options["corpus"]]
    if "separator" in options:
        # As it would be typed.
        options["separator"] = typed_separator(options["separator"])
    # A record of an earlier version lacks options that did not exist, and --minutes must not choose them.
    defaults = {name: getattr(TrainingConfig, name) for name in TUNABLE}
    context.default_map = {**defaults, **options}


def _check(options: dict[str, Any], path: Path) -> None:
    config = {name: value for name, value in options.items() if name in OPTIONS}
    TrainingConfig(**(config if any(name in config for name in BUDGETS) else config | {"steps": 1}))
    for name in options.keys() - config.keys():
        if name not in KINDS:
            raise ValueError(f"{path}: {name!r:.80} is not an option of train; remove it.")
        kinds, expected = KINDS[name]
        if not isinstance(options[name], kinds):
            raise ValueError(f"{path}: {name!r} must be {expected}; received {options[name]!r:.80}.")
    corpus = options.get("corpus", [])
    if isinstance(corpus, list) and not all(isinstance(part, str) for part in corpus):
        raise ValueError(f"{path}: 'corpus' must be names or paths; received {corpus!r:.80}.")

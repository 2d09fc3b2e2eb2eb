"""`tfcharlm train --config`: the options of a run, read from the training.json of another one."""

from collections.abc import Callable
from pathlib import Path

import click
from click.core import ParameterSource

from tfcharlm.bookkeeping import read_object
from tfcharlm.cli.errors import UserError
from tfcharlm.training.config import BUDGETS

BEGAN_FROM = "tfcharlm.began_from"

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


def budgets_not_given(context: click.Context) -> list[str]:
    """The budgets of the file that do not count, because the user has typed another one."""
    typed = [name for name in BUDGETS if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return [name for name in BUDGETS if name not in typed] if typed else []


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
    known = {parameter.name for parameter in context.command.params}
    options = {name: value for name, value in found.items() if name not in OUTCOME and value is not None}
    for name in options:
        if name not in known:
            raise UserError(f"{path}: {name!r:.80} is not an option of train; remove it.")
    if isinstance(options.get("corpus"), str):
        options["corpus"] = [options["corpus"]]
    context.default_map = options

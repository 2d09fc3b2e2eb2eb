"""`tfcharlm train`: its options."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tfcharlm.cli.config_file import WEIGHTS, check_origin, config_file_option, not_counted
from tfcharlm.cli.corpus_options import corpus_options
from tfcharlm.cli.running import check_corpus, check_models, checks_before_start, run
from tfcharlm.cli.shared import (
    Text,
    check_writable,
    config_option,
    config_options,
    errors_option,
    examples,
    output_options,
)
from tfcharlm.text.sources import check_reading
from tfcharlm.training.config import OPTIONS, TrainingConfig

# Between two checkpoints, which take a moment each.
CHECKPOINT_SECONDS = 30.0


@click.command(
    epilog=examples(
        "tfcharlm train shakespeare --minutes 10 --name plays",
        "tfcharlm train letters/ diary.txt --minutes 10 --name mine --from saved_models/shakespeare",
        "tfcharlm train names.txt --lines --minutes 2 --name names",
        "tfcharlm train --config saved_models/plays/1/assets.extra/training.json --name again",
    ),
    short_help="Train a model on a text.",
    help="""
    Train a model on CORPUS, one or several of: shakespeare, names, tinyshakespeare, UTF-8 text files (also .gz, .bz2,
    .xz), directories, patterns such as 'texts/**/*.md', and - for standard input. Several files are documents: the
    model starts each from a zero state. Of one text, the last tenth is held out. Of documents, a tenth of them is held
    out; if one is longer than that, the last tenth of each. With --lines, a tenth of the items is held out.

    The model is written to OUTPUT/NAME/VERSION, with its learning curve. Ctrl-C stops early and keeps the best model so
    far. Checkpoints are saved in OUTPUT/NAME/checkpoints; the same command with --resume continues from the last one.
    """,
)
@corpus_options
@config_file_option
@config_option("minutes", help_suffix=" From start-up to the saved model. Size and regularization suit it.")
@config_option("epochs")
@config_option("steps")
@click.option("--name", required=True, help="Name of the model.")
@click.option(
    "--from",
    "origin",
    metavar="MODEL",
    help="Begin from this model, given as for sample, instead of random weights. It has the architecture.",
)
@click.option("--output", default="saved_models", type=click.Path(path_type=Path), help="Directory of the models.")
@config_option("level", default=TrainingConfig.level)
@config_options
@config_option("validation_fraction", default=TrainingConfig.validation_fraction)
@config_option("seed", default=TrainingConfig.seed)
@click.option("--resume", is_flag=True, help="Continue the unfinished run of this name, if there is one.")
@click.option(
    "--checkpoint-seconds",
    default=CHECKPOINT_SECONDS,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between checkpoints.",
)
@click.option("--license", type=Text(), help="License of the text, for the model card, such as cc0-1.0.")
@output_options
@errors_option
@click.pass_context
def train(
    context: click.Context, corpus: tuple[str, ...], name: str, output: Path, origin: str | None, **options: Any
) -> None:
    unused = not_counted(context, origin)
    if not options["lines"] and context.get_parameter_source("separator") is ParameterSource.DEFAULT_MAP:
        options["separator"] = "\n"  # of the file; --no-lines was typed
    options |= {name: TrainingConfig.level if name == "level" else None for name in unused}
    with checks_before_start() as needed:
        check_origin(context, origin)
        TrainingConfig(**{name: options[name] for name in OPTIONS if options[name] is not None})
        if needed:
            check_models(origin)
            check_reading(options["lines"], options["separator"], options["join"])
            check_corpus(*corpus)
            check_writable(output / name, name)
    level_is_given = context.get_parameter_source("level") is not ParameterSource.DEFAULT and "level" not in unused
    given = {"corpus": corpus, "name": name, "output": output, "origin": origin, **options}
    given["origin_sha256"] = context.meta.get(WEIGHTS)
    run("train.train", began=context.obj, level_is_given=level_is_given, **given)

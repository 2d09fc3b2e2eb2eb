"""`tfcharlm inspect`: its options."""

from pathlib import Path

import click

from tfcharlm.cli.running import check_models, checks_before_start, run
from tfcharlm.cli.shared import examples


@click.command(
    epilog=examples(
        "tfcharlm inspect saved_models/plays",
        "tfcharlm inspect saved_models/plays/1 --json",
    ),
    short_help="Describe a model without loading or running it.",
    help="""
    Describe MODEL without loading or running it: any SavedModel, or saved_models/NAME (its latest version).

    The exit status is 0 for an unchanged export of tfcharlm, 1 if anything was changed or is disallowed, and 2 if MODEL
    is not a SavedModel.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of text.")
def inspect(model: Path, as_json: bool) -> None:
    with checks_before_start() as needed:
        if needed:
            check_models(model)
    run("inspect.inspect", model=model, as_json=as_json)

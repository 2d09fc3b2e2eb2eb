"""`tfcharlm export`: its options."""

import os
from pathlib import Path
from typing import Any

import click

from tfcharlm.cli.running import check_models, checks_before_start, run
from tfcharlm.cli.shared import Text, examples
from tfcharlm.names import EXPORT_FORMATS

# The format by the ending of the file.
ENDINGS = {".html": "html", ".tflite": "litert", ".onnx": "onnx"}


@click.command(
    epilog=examples(
        'tfcharlm export saved_models/plays plays.html --prompt "ROMEO:"',
        "tfcharlm export saved_models/plays plays.onnx --int8",
    ),
    short_help="Write a model for a browser or another runtime.",
    help="""
    Write MODEL, a directory saved_models/NAME or saved_models/NAME/VERSION, to FILE.

    FILE.html is a page that writes offline in any browser. FILE.tflite and FILE.onnx have one step of the model, and a
    JSON file beside them has its vocabulary. Without one of these endings, FILE is a directory for TensorFlow.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(EXPORT_FORMATS),
    help="Format of the file.  [default: by its ending]",
)
@click.option("--int8", is_flag=True, help="Weights of 8 bits, for ONNX; a page has them by default.")
@click.option("--float16", is_flag=True, help="Weights of 16 bits, for a page: more exact, larger and slower.")
@click.option("--prompt", type=Text(), help="Prompt that a page starts with.")
def export(model: Path, file: Path, format: str | None, int8: bool, float16: bool, prompt: str | None) -> None:
    format = ENDINGS.get(file.suffix, "tf_saved_model") if format is None else format
    options: dict[str, Any] = {}
    with checks_before_start() as needed:
        given = {"--int8": int8, "--float16": float16, "--prompt": prompt is not None}
        formats = {"--int8": ("html", "onnx"), "--float16": ("html",), "--prompt": ("html",)}
        for flag, known in formats.items():
            if given[flag] and format not in known:
                raise ValueError(f"{flag} is not for --format {format}; omit it.")
        if int8 and float16:
            raise ValueError("--int8 and --float16 exclude each other; omit one of them.")
        options |= {"dtype": "int8" if int8 else "float16"} if int8 or float16 else {}
        options |= {} if prompt is None else {"prompt": prompt}
        # A SavedModel may be the next version of a directory that exists.
        beside = [file.with_name(f"{file.name}.json")] if format in ("litert", "onnx") else []
        for path in [file, *beside] if format in ENDINGS.values() else []:
            if os.path.lexists(path):
                raise ValueError(f"{path} exists already; remove it or choose another name.")
        if needed:
            check_models(model)
    run("export.export", model=model, file=file, format=format, **options)

"""`tfcharlm export`: a trained model as a file for a browser, a phone or another runtime."""

from pathlib import Path

import click

from tfcharlm.artefact import FORMATS, latest_version, model_name
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.cli.shared import Text
from tfcharlm.model import load_model

# The format by the ending of the file.
ENDINGS = {".html": "html", ".tflite": "litert", ".onnx": "onnx"}


@click.command(
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
    type=click.Choice(list(FORMATS)),
    help="Format of the file.  [default: by its ending]",
)
@click.option("--int8", is_flag=True, help="Weights of 8 bits, for ONNX; a page has them by default.")
@click.option("--float16", is_flag=True, help="Weights of 16 bits, for a page: more exact, larger and slower.")
@click.option("--prompt", type=Text(), help="Prompt that a page starts with.")
def export(model: Path, file: Path, format: str | None, int8: bool, float16: bool, prompt: str | None) -> None:
    with one_line_errors():
        format = ENDINGS.get(file.suffix, "tf_saved_model") if format is None else format
        given = {"--int8": int8, "--float16": float16, "--prompt": prompt is not None}
        formats = {"--int8": ("html", "onnx"), "--float16": ("html",), "--prompt": ("html",)}
        for flag, known in formats.items():
            if given[flag] and format not in known:
                raise ValueError(f"{flag} is not for --format {format}; omit it.")
        if int8 and float16:
            raise ValueError("--int8 and --float16 exclude each other; omit one of them.")
        options = {"dtype": "int8" if int8 else "float16"} if int8 or float16 else {}
        options |= {} if prompt is None else {"prompt": prompt}
        directory = latest_version(model)
        if format == "html":
            options["name"] = model_name(directory)
        path = load_model(directory).export(file, format=format, **options)
        size = sum(one.stat().st_size for one in path.rglob("*")) if path.is_dir() else path.stat().st_size
        click.echo(f"{path}: {size:,} bytes.")

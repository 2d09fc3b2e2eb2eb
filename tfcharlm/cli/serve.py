"""`tfcharlm serve`: models over HTTP, for programs and for people."""

from pathlib import Path

import click

from tfcharlm.analysis import follow_unit
from tfcharlm.artefact import latest_version, model_name
from tfcharlm.checks import Bounds, short_repr
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.model import CharLM, load_model
from tfcharlm.pages import server_page

PORT, ROWS, QUEUE = (Bounds(low=low, high=high, whole=True) for low, high in ((0, 65535), (1, 1024), (0, 100_000)))


@click.command(
    short_help="Serve models over HTTP.",
    help="""
    Serve MODELS over HTTP: directories saved_models/NAME or saved_models/NAME/VERSION. Their names are NAME.

    Programs use the OpenAI completions protocol at /v1, and people a page at /. Many texts are written at the same
    time. Needs pip install "tfcharlm[serve]".
    """,
)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", help="Address to listen on. Any other than this machine needs a key.")
@click.option("--port", type=int, default=8000, help="Port to listen on; 0 for any free one.")
@click.option(
    "--api-key",
    envvar="TFCHARLM_API_KEY",
    show_envvar=True,
    help="Key that requests must have in the header Authorization: Bearer KEY.  [default: none]",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Web pages that may use the server, such as https://example.org; may be given several times.",
)
@click.option("--rows", type=int, default=64, help="Texts that a model writes at the same time.")
@click.option("--queue", type=int, default=256, help="Texts that may wait for a model.")
def serve(
    models: tuple[Path, ...],
    host: str,
    port: int,
    api_key: str | None,
    origins: tuple[str, ...],
    rows: int,
    queue: int,
) -> None:
    with one_line_errors():
        PORT.check("--port", port)
        ROWS.check("--rows", rows)
        QUEUE.check("--queue", queue)
        try:
            from tfcharlm import serving
        except ImportError as error:
            raise ValueError(
                f'tfcharlm serve needs the package {error.name}; type pip install "tfcharlm[serve]".'
            ) from error
        serving.check_address(host, api_key)
        with serving.listening_socket(host, port) as listening:
            loaded = _loaded(models)
            names, address = ", ".join(loaded), f"http://{_in_url(host)}:{listening.getsockname()[1]}"
            page = server_page(names)
            app = serving.create_app(loaded, api_key, origins, rows, queue, page, follow_unit)
            click.echo(f"Compiling {names} ...", err=True)
            serving.run(app, listening, lambda: click.echo(f"{names} at {address}; Ctrl-C ends the server.", err=True))


def _loaded(models: tuple[Path, ...]) -> dict[str, CharLM]:
    loaded: dict[str, CharLM] = {}
    for model in models:
        directory = latest_version(model)
        name = model_name(directory)
        if name in loaded:
            raise ValueError(
                f"models must have different names; received {short_repr(name)} twice. Rename a directory."
            )
        loaded[name] = load_model(directory)
    return loaded


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

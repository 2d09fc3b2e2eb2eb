"""`tfcharlm serve`: models over HTTP, for programs and for people."""

from pathlib import Path

import click

from tfcharlm import serving
from tfcharlm.analysis import follow_unit
from tfcharlm.artefact import latest_version, model_name
from tfcharlm.checks import short_repr
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.model import CharLM, load_model
from tfcharlm.pages import server_page


def serve(
    models: tuple[Path, ...],
    host: str,
    port: int,
    api_key: str | None,
    origins: tuple[str, ...],
    rows: int,
    queue: int,
) -> None:
    """Serves models until it is ended. The arguments are the options."""
    with one_line_errors():
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

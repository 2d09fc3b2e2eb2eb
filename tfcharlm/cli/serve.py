"""`tfcharlm serve`: its options."""

import importlib.util
from pathlib import Path
from typing import Any

import click

from tfcharlm.checks import Bounds
from tfcharlm.cli.running import check_models, checks_before_start, run
from tfcharlm.cli.shared import examples

PORT, ROWS, QUEUE = (Bounds(low=low, high=high, whole=True) for low, high in ((0, 65535), (1, 1024), (0, 100_000)))
NEEDED = ("fastapi", "prometheus_client", "uvicorn")


@click.command(
    epilog=examples(
        "tfcharlm serve saved_models/plays saved_models/names --port 8000",
    ),
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
def serve(models: tuple[Path, ...], port: int, rows: int, queue: int, **options: Any) -> None:
    with checks_before_start() as needed:
        PORT.check("--port", port)
        ROWS.check("--rows", rows)
        QUEUE.check("--queue", queue)
        for package in NEEDED:
            if importlib.util.find_spec(package) is None:
                raise ValueError(f'tfcharlm serve needs the package {package}; type pip install "tfcharlm[serve]".')
        # Not at the top: its room needs what was just looked for.
        from tfcharlm.serving.addresses import check_address, listening_socket

        check_address(options["host"], options["api_key"])
        if needed:
            check_models(*models)
            listening_socket(options["host"], port).close()
    run("serve.serve", models=models, port=port, rows=rows, queue=queue, **options)

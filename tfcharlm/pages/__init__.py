"""Pages for a browser, each one file without any address outside: `page.*` is what people see.

A page needs a model: `remote.js` asks a server, and `local.js` computes in the page, with weights that it holds.
"""

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

__all__ = ["model_page", "server_page"]

FOLDER = Path(__file__).parent


def server_page(title: str, prompt: str = "") -> str:
    """The page of a server.

    Args:
        title: the title, as text.
        prompt: the prompt that the page starts with; empty by default.

    Returns:
        A complete HTML document.

    Example:

    >>> from tfcharlm.pages import server_page
    >>> "<title>plays &amp; poems</title>" in server_page("plays & poems")
    True
    """
    return _page(title, prompt, ["remote.js", "page.js"], connect="'self'")


def model_page(about: Mapping[str, Any], prompt: str = "") -> str:
    """A page that holds a model, and writes without a server.

    Args:
        about: the model as plain data, as `tfcharlm.artefact.export_html` describes it. Its "name" is the title.
        prompt: the prompt that the page starts with; empty by default.

    Returns:
        A complete HTML document.

    Example:

    >>> from tfcharlm.pages import model_page
    >>> "connect-src 'none'" in model_page({"name": "plays"})
    True
    """
    wasm = base64.b64encode((FOLDER / "products.wasm").read_bytes()).decode()
    # The only character with which a text could end the element.
    data = json.dumps({**about, "wasm": wasm}).replace("<", "\\u003c")
    element = f'<script type="application/json" id="model-data">{data}</script>'
    return _page(about["name"], prompt, ["local.js", "page.js"], connect="'none'", data=element)


def _page(title: str, prompt: str, scripts: list[str], connect: str, data: str = "") -> str:
    return Template(_read("page.html")).substitute(
        title=html.escape(title),
        prompt=html.escape(prompt),
        style=_read("page.css").rstrip(),
        script="\n".join(_read(name).rstrip() for name in scripts),
        connect=connect,
        data=data,
    )


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")

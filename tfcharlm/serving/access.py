"""Who may use a server: the names that it answers to, origins of web pages, and the API key."""

import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tfcharlm.checks import short_repr
from tfcharlm.serving.addresses import LOOPBACK
from tfcharlm.serving.errors import error_response

# The page has no secrets; it asks for the key. A load balancer asks whether the server is alive.
WITHOUT_KEY = ("/", "/healthz")


class Access:
    """ASGI middleware that refuses requests of strangers.

    A web page of somebody else must not use a server on the machine of its visitor. Browsers tell the origin of a page,
    so another one is refused unless it is allowed. A page could also point its own name to this machine ("DNS
    rebinding"). So a server without a key only answers to the names of this machine.

    Args:
        app: the application.
        api_key: the key that requests must have; None for no key.
        origins: origins of web pages that may use the server, such as "https://example.org".
    """

    def __init__(self, app: ASGIApp, api_key: str | None = None, origins: Collection[str] = ()) -> None:
        self._app, self._key, self._origins = app, api_key and api_key.encode(), frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._key is None and _name(host) not in LOOPBACK:
            response = error_response(
                403, f"without an API key, the host must be localhost; received {short_repr(host)}."
            )
        elif origin is not None and origin not in self._origins and urlsplit(origin).netloc != host:
            response = error_response(
                403, f"pages of {short_repr(origin)} may not use this server; see --allow-origin."
            )
        elif scope["method"] == "OPTIONS" and origin in self._origins:
            response = error_response(204, "")
            response.body, response.headers["content-length"] = b"", "0"
            response.headers.update(_cors(origin))
        elif self._key is not None and scope["path"] not in WITHOUT_KEY and not self._has_key(headers):
            response = error_response(
                401,
                "the API key is missing or wrong; send the header Authorization: Bearer KEY.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        else:
            await self._app(scope, receive, self._allowing(send, origin) if origin in self._origins else send)
            return
        await response(scope, receive, send)

    def _has_key(self, headers):
        scheme, _, key = headers.get("authorization", "").partition(" ")
        # In constant time, so that nobody can find the key character by character.
        return scheme.lower() == "bearer" and secrets.compare_digest(key.strip().encode(), self._key)

    def _allowing(self, send, origin):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in _cors(origin).items()]
                message = message | {"headers": [*message["headers"], *headers]}
            await send(message)

        return send_with_headers


def _cors(origin):
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization, content-type",
        "vary": "origin",
    }


def _name(host):
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None

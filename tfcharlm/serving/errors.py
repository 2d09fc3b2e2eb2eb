"""Errors as the protocol has them: a status, and a message of one line that says what to do."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tfcharlm.checks import short_repr

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "overloaded_error"}


class ServingError(HTTPException):
    """An error that the client is told. FastAPI would hide other exceptions while it reads a body.

    Args:
        status: the HTTP status.
        message: one line.
        param: the field of the body that it is about; None (default) for none.
        headers: further headers of the response.
    """

    def __init__(
        self, status: int, message: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.status, self.message, self.param = status, message, param


def error_response(
    status: int, message: str, param: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """A response with the body `{"error": {"message", "type", "param", "code"}}`."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": None}}
    return JSONResponse(body, status, headers)


async def on_serving_error(request: Request, error: Any) -> JSONResponse:
    """The response for a `ServingError`."""
    return error_response(error.status, error.message, error.param, dict(error.headers or {}))


async def on_http_error(request: Request, error: Any) -> JSONResponse:
    """The response for an unknown path or method."""
    message = {
        404: f"there is no {short_repr(request.url.path)}; GET /openapi.json lists what there is",
        405: f"{request.method} is not a method of {short_repr(request.url.path)}",
    }.get(error.status_code, str(error.detail))
    return error_response(error.status_code, f"{message}.", headers=dict(error.headers or {}))


async def on_invalid_body(request: Request, error: Any) -> JSONResponse:
    """The response for a body that does not fit the schema: its first fault, in one line."""
    fault: dict[str, Any] = error.errors()[0]
    where = [str(part) for part in fault["loc"] if part not in ("body", "str", "int")]
    if fault["type"] == "json_invalid":
        return error_response(400, "the body must be JSON; received something else.")
    if fault["type"] == "missing" and not where:
        return error_response(400, "the body must be a JSON object; received none.")
    param = where[0] if where else None
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "is not a field of this request; omit it"
    elif not message.startswith("must"):
        message = f"is wrong: {message[0].lower()}{message[1:]}"
    if fault["type"] not in ("missing", "extra_forbidden", "value_error"):
        message += f"; received {short_repr(fault.get('input'))}"
    return error_response(400, f"{'the body' if param is None else param} {message}.", param)


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """The response for a fault of the server."""
    return error_response(500, "the server failed; its log has the reason.")

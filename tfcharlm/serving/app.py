"""The application: paths, and what each of them answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, NamedTuple

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from tfcharlm.checks import short_repr
from tfcharlm.serving import errors
from tfcharlm.serving.access import Access
from tfcharlm.serving.completions import Completion
from tfcharlm.serving.disconnects import NO_STORE, EventStream, unless_gone
from tfcharlm.serving.engine import Engine
from tfcharlm.serving.errors import ServingError
from tfcharlm.serving.limits import Limits
from tfcharlm.serving.mailbox import Mailbox
from tfcharlm.serving.metrics import Metrics
from tfcharlm.serving.requests import unix_time
from tfcharlm.serving.schemas import MAX_CHARACTERS, ActivationBody, CompletionBody, ScoreBody

# Scoring keeps a core busy, and other requests wait meanwhile.
SCORING_THREADS = 1


class ServedModel(NamedTuple):
    """A model with the engine that writes its texts."""

    model: Any
    engine: Engine
    created: int


def create_app(
    models: Mapping[str, Any],
    api_key: str | None = None,
    origins: Collection[str] = (),
    rows: int = 64,
    queue: int = 256,
    page: str = "",
    activations: Any = None,
) -> FastAPI:
    """Makes the ASGI application that serves models.

    It speaks OpenAI's completions protocol: `GET /v1/models`, `POST /v1/completions`. Beside it there are `POST
    /v1/score`, `GET /healthz`, `GET /metrics` and `GET /openapi.json`.

    Args:
        models: `CharLM`s by name; the first one is the default.
        api_key: the key that requests must have in the header `Authorization: Bearer KEY`; None (default) for no key.
        origins: origins of web pages that may use the server; none by default but the server's own.
        rows: texts that a model writes at the same time.
        queue: texts that may wait for a model.
        page: the HTML of the page at `/`; without one (default) the path does not exist.
        activations: `activations(model, text, layer, kind, unit)`, which answers `POST /v1/activations`; None (default)
            for no such path.

    Returns:
        A `FastAPI` application. Its lifespan compiles the models at the start, and waits for their texts at the end.

    Raises:
        ValueError: `models` is empty.

    Example:

    >>> from fastapi.testclient import TestClient
    >>> import tfcharlm
    >>> from tfcharlm.serving import create_app
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
    >>> with TestClient(create_app({"letters": model}, rows=2), base_url="http://localhost") as client:
    ...     body = {"prompt": "a", "max_tokens": 5, "seed": 7, "echo": True}
    ...     text = client.post("/v1/completions", json=body).json()["choices"][0]["text"]
    >>> text == model.generate("a", max_length=5, seed=7)
    True
    """
    if not models:
        raise ValueError("models must have at least one model; received none.")
    created = unix_time()
    served = {
        name: ServedModel(model, Engine(model._text_graph_in_python(), rows, queue), created)
        for name, model in models.items()
    }
    metrics = Metrics({name: one.engine for name, one in served.items()})

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.mailbox = Mailbox(asyncio.get_running_loop())
        for one in served.values():
            await anyio.to_thread.run_sync(one.engine.start)
        yield
        for one in served.values():
            await anyio.to_thread.run_sync(one.engine.close, 1.0)

    # Swagger's page would load scripts from elsewhere.
    app = FastAPI(title="tfcharlm", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.models = served
    app.add_exception_handler(ServingError, errors.on_serving_error)
    app.add_exception_handler(HTTPException, errors.on_http_error)
    app.add_exception_handler(RequestValidationError, errors.on_invalid_body)
    app.add_exception_handler(Exception, errors.on_failure)
    app.add_middleware(Access, api_key=api_key, origins=origins)
    app.add_middleware(Limits, metrics=metrics)
    _add_routes(app, served, metrics)
    if page:
        app.get("/", include_in_schema=False)(lambda: HTMLResponse(page))
    if activations is not None:
        _add_activations(app, served, activations)
    _without_status_422(app)
    return app


def chosen(served: Mapping[str, ServedModel], name: str | None) -> tuple[str, ServedModel]:
    """The model of a name and its name; the first one without a name."""
    if name is None:
        return next(iter(served.items()))
    if name not in served:
        raise ServingError(404, f"model must be one of {', '.join(served)}; received {short_repr(name)}.", "model")
    return name, served[name]


def _add_routes(app: FastAPI, served: Mapping[str, ServedModel], metrics: Metrics) -> None:
    scoring = anyio.CapacityLimiter(SCORING_THREADS)

    def described(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": served[name].created, "owned_by": "tfcharlm"}

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [described(name) for name in served]}

    @app.get("/v1/models/{name}", responses={404: {"description": "There is no such model."}})
    async def get_model(name: str) -> dict[str, Any]:
        return described(chosen(served, name)[0])

    @app.post("/v1/completions", responses=_responses(429, 503))
    async def complete(body: CompletionBody, request: Request) -> Response:
        name, one = chosen(served, body.model)
        completion = Completion(body, name, one.engine, metrics, app.state.mailbox)
        if body.stream:
            return EventStream(completion)
        try:
            return JSONResponse(await unless_gone(request, completion.response()), headers=NO_STORE)
        finally:
            completion.cancel()

    @app.post("/v1/score", responses=_responses())
    async def score(body: ScoreBody, request: Request) -> dict[str, Any]:
        name, one = chosen(served, body.model)
        texts = [body.input] if isinstance(body.input, str) else body.input
        if sum(map(len, texts)) > MAX_CHARACTERS:
            raise ServingError(400, f"all texts together must have at most {MAX_CHARACTERS:,} characters.", "input")
        try:
            scores = await unless_gone(request, anyio.to_thread.run_sync(one.model.score, texts, limiter=scoring))
        except ValueError as error:
            raise ServingError(400, f"input: {error}", "input") from None
        columns = {key: values.tolist() for key, values in scores.items()}
        data = [{"index": i} | {key: values[i] for key, values in columns.items()} for i in range(len(texts))]
        return {"object": "list", "model": name, "data": data}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        if any(one.engine.is_closing for one in served.values()):
            raise ServingError(503, "the server is closing.")
        return {"status": "ok"}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_activations(app: FastAPI, served: Mapping[str, ServedModel], activations: Any) -> None:
    limiter = anyio.CapacityLimiter(SCORING_THREADS)

    @app.post("/v1/activations", responses=_responses())
    async def follow(body: ActivationBody, request: Request) -> dict[str, Any]:
        _, one = chosen(served, body.model)
        arguments = one.model, body.input, body.layer, body.kind, body.unit
        try:
            return await unless_gone(request, anyio.to_thread.run_sync(activations, *arguments, limiter=limiter))
        except ValueError as error:
            raise ServingError(400, str(error)) from None


def _without_status_422(app: FastAPI) -> None:
    """Removes the status of FastAPI's own handler from the schema; here a wrong body has the status 400."""
    schema = app.openapi()
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a path documents."""
    texts = {
        400: "The request cannot be fulfilled.",
        404: "There is no such model.",
        408: "The body came too slowly.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        429: "Too many texts are waiting.",
        503: "The server is closing.",
    }
    return {status: {"description": texts[status]} for status in (400, 404, 408, 413, 415, *statuses)}

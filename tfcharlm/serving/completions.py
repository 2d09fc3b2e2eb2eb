"""Completions: from the body of a request to texts of an engine, and from their pieces to responses and events."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from tfcharlm.generation import Sampling
from tfcharlm.serving.engine import Engine, QueueFullError, Ticket
from tfcharlm.serving.errors import ServingError
from tfcharlm.serving.mailbox import Mailbox
from tfcharlm.serving.metrics import Metrics
from tfcharlm.serving.requests import Piece, TextRequest, TokenScore, unix_time
from tfcharlm.serving.schemas import MAX_CHARACTERS, CompletionBody

# Rows of one request: a client should not fill the whole queue.
MAX_ROWS = 128
# Bounds of a seed that is drawn: every program that reads JSON has these numbers.
SEEDS = 2**32


class Completion:
    """The texts that one request asked for, while they are written.

    Args:
        body: a `CompletionBody`.
        name: the name of the model.
        engine: the `Engine` of the model.
        metrics: the `Metrics` of the server.
        mailbox: the `Mailbox` of the event loop.

    Raises:
        ServingError: the body asks for something that the model cannot do, or too many texts are waiting.
    """

    def __init__(self, body: CompletionBody, name: str, engine: Engine, metrics: Metrics, mailbox: Mailbox) -> None:
        self.id, self.created = f"cmpl-{secrets.token_hex(12)}", unix_time()
        self._body, self._name, self._engine, self._metrics = body, name, engine, metrics
        self._mailbox = mailbox
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        self._began, self._has_begun = time.perf_counter(), False
        requests = self._requests()
        self._written = [0] * len(requests)
        self.prompt_tokens = sum(len(engine.vocabulary.encode(prompt)) for prompt in body.prompts)
        try:
            self._ticket: Ticket = engine.submit(requests)
        except QueueFullError:
            message = f"{engine.num_waiting} texts are waiting for this model; try again later."
            raise ServingError(503 if engine.is_closing else 429, message, headers={"Retry-After": "2"}) from None

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """`(number of the text, piece)` as the engine makes them, until all texts have ended.

        Raises:
            ServingError: the engine failed, or is closing.
        """
        left = len(self._written)
        try:
            while left:
                index, piece = await self._pieces.get()
                if piece.finish_reason == "error":
                    raise ServingError(503 if self._engine.is_closing else 500, "the text could not be written.")
                if not self._has_begun:
                    self._has_begun = True
                    self._metrics.first_piece.observe(time.perf_counter() - self._began)
                self._metrics.tokens.inc(piece.tokens - self._written[index])
                self._written[index] = piece.tokens
                left -= piece.finish_reason is not None
                yield index, piece
        finally:
            # If the client has gone away, the rows are free for others.
            self._ticket.cancel()

    async def response(self) -> dict[str, Any]:
        """The body of the response, when all texts have ended."""
        pieces: list[list[Piece]] = [[] for _ in self._written]
        async for index, piece in self.pieces():
            pieces[index].append(piece)
        choices = [
            self._choice(
                index,
                "".join(piece.text for piece in own),
                [s for piece in own for s in piece.scores],
                own[-1].finish_reason,
            )
            for index, own in enumerate(pieces)
        ]
        return self._object(choices) | {"usage": self._usage()}

    async def events(self) -> AsyncIterator[str]:
        """The response as server-sent events. An error is an event, too: the status has been sent long before."""
        options = self._body.stream_options
        with_usage = options is not None and options.include_usage
        try:
            async for index, piece in self.pieces():
                chunk = self._object([self._choice(index, piece.text, piece.scores, piece.finish_reason)])
                yield _event(chunk | ({"usage": None} if with_usage else {}))
            if with_usage:
                yield _event(self._object([]) | {"usage": self._usage()})
            yield "data: [DONE]\n\n"
        except ServingError as error:
            yield _event({"error": {"message": error.message, "type": "server_error", "param": None, "code": None}})

    def cancel(self) -> None:
        """Frees the rows."""
        self._ticket.cancel()

    def _requests(self) -> list[TextRequest]:
        body = self._body
        prompts = [prompt for prompt in body.prompts for _ in range(body.n or 1)]
        if len(prompts) > MAX_ROWS:
            raise ServingError(400, f"prompts times n must be at most {MAX_ROWS}; received {len(prompts)}.", "n")
        if sum(map(len, body.prompts)) > MAX_CHARACTERS:
            raise ServingError(400, f"all prompts together must have at most {MAX_CHARACTERS:,} characters.", "prompt")
        for prompt in body.prompts:
            self._check_prompt(prompt)
        given = {name: getattr(body, name) for name in Sampling._fields}
        try:
            sampling = Sampling(**{name: value for name, value in given.items() if value is not None}).checked()
        except ValueError as error:
            # A number may be within the bounds, and not within those of float32.
            raise ServingError(400, str(error), str(error).split()[0]) from None
        first = secrets.randbelow(SEEDS) if body.seed is None else body.seed
        if first + len(prompts) > 2**63:
            raise ServingError(400, "seed must leave room for a seed of each text; give a smaller one.", "seed")
        tokens = 16 if body.max_tokens is None else body.max_tokens
        options = body.stops, body.logprobs, bool(body.echo)
        return [
            TextRequest(prompt, tokens, first + i, sampling, *options, self._deliver(i))
            for i, prompt in enumerate(prompts)
        ]

    def _check_prompt(self, prompt):
        vocabulary = self._engine.vocabulary
        if prompt == "" and not vocabulary.line_start:
            raise ServingError(400, "prompt must not be empty, because this model has no newline.", "prompt")
        try:
            vocabulary.encode(prompt)
        except ValueError as error:
            raise ServingError(400, f"prompt: {error}", "prompt") from None

    def _deliver(self, index):
        def deliver(piece: Piece) -> None:
            self._mailbox.put(self._pieces, (index, piece))

        return deliver

    def _object(self, choices):
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self._name,
            "choices": choices,
        }

    def _choice(self, index, text, scores, reason):
        logprobs = None if self._body.logprobs is None else _logprobs(scores)
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}

    def _usage(self):
        written = sum(self._written)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }


def _logprobs(scores: Sequence[TokenScore]) -> dict[str, list[Any]]:
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [score.log_probability for score in scores],
        "top_logprobs": [score.likely or None for score in scores],
        "text_offset": [score.offset for score in scores],
    }


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"

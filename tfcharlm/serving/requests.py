"""What a client wants of a model, and what it gets: one text is one `TextRequest`, which ends as a list of `Piece`s."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tfcharlm.generation import Sampling


def unix_time() -> int:
    """Seconds since 1970, with which the protocol dates models and responses."""
    return int(time.time())


class TokenScore(NamedTuple):
    """One token with its log-probability.

    Args:
        token: what the token adds to the text. It is empty if others must follow, before there is a whole character.
        offset: the number of characters before it.
        log_probability: in nats, before temperature and truncation; None for the first token of a text that nothing
            predicts.
        likely: the most likely tokens at this position and their log-probabilities.
    """

    token: str
    offset: int
    log_probability: float | None
    likely: dict[str, float]


class Piece(NamedTuple):
    """A part of a text.

    Args:
        text: the characters that have become certain.
        scores: their tokens, if they were asked for.
        finish_reason: "length" or "stop" in the last piece; "error" if the text could not be made; None before.
        tokens: how many tokens the text has so far, without the prompt.
    """

    text: str
    scores: tuple[TokenScore, ...] = ()
    finish_reason: str | None = None
    tokens: int = 0


class TextRequest(NamedTuple):
    """One text to write.

    Args:
        prompt: the text to continue, read as the start of a line.
        max_tokens: the number of tokens to write, if nothing ends the text before.
        seed: an integer of 64 bits.
        sampling: a `Sampling` of checked numbers.
        stops: strings that end the text.
        likely: how many of the most likely tokens to report with each token, from 0 to 5; None for no scores.
        echo: whether the prompt is part of the text.
        deliver: called with each `Piece`, in the thread of the engine. It must not wait.
    """

    prompt: str
    max_tokens: int
    seed: int
    sampling: Sampling
    stops: tuple[str, ...]
    likely: int | None
    echo: bool
    deliver: Callable[[Piece], object]

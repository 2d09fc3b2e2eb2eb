"""The bodies of requests: fields, bounds and defaults. They are those of OpenAI's completions, where it has them.

The class docstrings are part of the schema that a server shows at /openapi.json.
"""

from typing import Annotated, Any

import pydantic

# Characters of all texts of a request; a long novel has a million.
MAX_CHARACTERS = 100_000
MAX_PROMPTS, MAX_STOPS, MAX_STOP_LENGTH = 64, 16, 256
MAX_TOKENS = 16_384

Seed = Annotated[int, pydantic.Field(ge=-(2**63), le=2**63 - 1)]
Stop = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_STOP_LENGTH)]
Text = Annotated[str, pydantic.Field(max_length=MAX_CHARACTERS)]
# Fields of the protocol that a model of characters does not have; only the value that changes nothing is taken.
Zero = Annotated[float | None, pydantic.Field(ge=0, le=0)]


class Body(pydantic.BaseModel):
    """What all bodies have."""

    # A field that is not known would be a setting that is not heeded.
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    model: str | None = pydantic.Field(None, max_length=256, description="Default: the first model of the server.")


class StreamOptions(pydantic.BaseModel):
    """Options of a stream."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = pydantic.Field(False, description="A last chunk tells the numbers of tokens.")
    include_obfuscation: bool | None = pydantic.Field(False, description="Not used.")


class CompletionBody(Body):
    """A prompt to continue."""

    prompt: Text | list[Text] = pydantic.Field("", description="A text, or a list of texts, to continue.")
    max_tokens: int | None = pydantic.Field(16, ge=0, le=MAX_TOKENS, description="Tokens to write for each text.")
    temperature: float | None = pydantic.Field(1.0, ge=0, le=1e6, description="0: always the most likely token.")
    top_p: float | None = pydantic.Field(1.0, gt=0, le=1, description="1: off.")
    top_k: int | None = pydantic.Field(0, ge=0, le=2**31 - 1, description="0: off.")
    n: int | None = pydantic.Field(1, ge=1, le=64, description="Texts for each prompt, with seeds seed, seed + 1, ...")
    seed: Seed | None = pydantic.Field(None, description="Makes the text repeatable.")
    stop: Stop | list[Stop] | None = pydantic.Field(None, description="Texts before which a text ends.")
    stream: bool | None = pydantic.Field(False, description="Send pieces as server-sent events.")
    stream_options: StreamOptions | None = None
    echo: bool | None = pydantic.Field(False, description="The prompt is part of the text.")
    logprobs: int | None = pydantic.Field(None, ge=0, le=5, description="Report so many of the most likely tokens.")
    user: str | None = pydantic.Field(None, max_length=1024, description="Not used.")
    presence_penalty: Zero = None
    frequency_penalty: Zero = None
    best_of: Annotated[int | None, pydantic.Field(ge=1, le=1)] = None
    suffix: None = None
    logit_bias: Annotated[dict[str, Any] | None, pydantic.Field(max_length=0)] = None

    @pydantic.field_validator("prompt", "stop")
    @classmethod
    def _limited(cls, value: Any, field: pydantic.ValidationInfo) -> Any:
        most = MAX_PROMPTS if field.field_name == "prompt" else MAX_STOPS
        if isinstance(value, list) and not 1 <= len(value) <= most:
            raise ValueError(f"must have 1 to {most} texts; received {len(value)}")
        return value

    @property
    def prompts(self) -> list[str]:
        """The prompts as a list."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ScoreBody(Body):
    """Texts to score."""

    input: Text | list[Text] = pydantic.Field(description="A text, or a list of texts.")

    @pydantic.field_validator("input")
    @classmethod
    def _limited(cls, value: Any) -> Any:
        if isinstance(value, list) and not 1 <= len(value) <= MAX_PROMPTS:
            raise ValueError(f"must have 1 to {MAX_PROMPTS} texts; received {len(value)}")
        return value


class ActivationBody(Body):
    """A unit to follow over a text."""

    input: Annotated[str, pydantic.Field(min_length=1, max_length=4000)] = pydantic.Field(description="A text.")
    layer: int = pydantic.Field(0, ge=0, description="Number of the recurrent layer, from 0.")
    kind: str | None = pydantic.Field(None, max_length=64, description="A state or gate, such as h, c, i, f, g or o.")
    unit: int = pydantic.Field(0, ge=0, description="Number of the unit, from 0.")

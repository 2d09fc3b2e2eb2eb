"""Scores and texts of a model that learns while it reads: what `adapt` does in the methods of a model."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcharlm.checks import short_repr
from tfcharlm.generation.arguments import checked_callback, checked_text, checked_texts, row_seeds
from tfcharlm.generation.dynamic_evaluation import DynamicEvaluation
from tfcharlm.generation.limits import ROWS
from tfcharlm.generation.sampling_settings import Sampling
from tfcharlm.generation.scores import summary
from tfcharlm.generation.streaming import generate

Adapt = bool | DynamicEvaluation


def adaptive_score(model: Any, texts: str | Sequence[str], adapt: Adapt) -> dict[str, Any]:
    """Scores texts; see `CharLM.score`."""
    texts, single = checked_texts("texts", texts)
    reader, begin = _reader(model, adapt)
    per_token = np.array(model.vocabulary.characters_per_token)
    results = np.zeros((len(texts), 3))
    for row, text in enumerate(texts):
        begin()
        nats = reader.read(text)
        ids = model.vocabulary.encode(text)
        results[row] = nats.sum(), per_token[ids[len(ids) - len(nats) :]].sum(), len(nats)
    return summary(results, single)


def adaptive_log_probabilities(model: Any, text: str, adapt: Adapt) -> np.ndarray:
    """The log-probabilities of the tokens of a text; see `CharLM.token_log_probabilities`."""
    text = checked_text("text", text)
    reader, begin = _reader(model, adapt)
    begin()
    return reader.read(text)


def adaptive_generate(
    model: Any,
    prompts: str | Sequence[str],
    adapt: Adapt,
    max_length: int,
    sampling: Sampling,
    seed: int | Sequence[int] | None,
    stop: str | Sequence[str] | None,
    samples: int,
    callback: Callable[[int, str], Any] | None,
) -> Any:
    """Learns from each prompt, then continues it; see `CharLM.generate`."""
    samples, callback = ROWS.check("samples", samples), checked_callback(callback)
    prompts, single = checked_texts("prompts", prompts)
    seeds = row_seeds(seed, len(prompts) * samples)
    reader, begin = _reader(model, adapt)
    texts = []
    for number, prompt in enumerate(prompts):
        first = number * samples
        begin()
        reader.read(prompt)
        graph, rows = reader.model._text_graph_in_python(), seeds[first : first + samples]

        def of_row(row, piece, first=first):
            callback(first + row, piece)

        one = generate(graph, [prompt], max_length, sampling, rows, stop, samples, callback and of_row)
        texts += one
    return texts[0] if single else texts


def _reader(model, adapt):
    """A `DynamicEvaluation`, and what is called before each text."""
    if adapt is True:
        reader = DynamicEvaluation(model)
        return reader, reader.reset
    if not isinstance(adapt, DynamicEvaluation):
        raise ValueError(f"adapt must be True, False or a DynamicEvaluation; received {short_repr(adapt)}.")
    if adapt.vocabulary.fingerprint != model.vocabulary.fingerprint:
        raise ValueError(
            "adapt must be a DynamicEvaluation of a model with the same vocabulary; received one with other tokens. "
            "Type adapt=tfcharlm.DynamicEvaluation(model)."
        )
    return adapt, lambda: None

"""How probable texts are, and what comes next, from Python: for any length, with errors that name the character."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfcharlm.generation.arguments import checked_prompt, checked_texts
from tfcharlm.generation.graph import SCORE_CHUNK, TextGraph
from tfcharlm.generation.limits import MAX_NUMBERS

# Rows in one call of the graph.
ROWS = 64


def score(graph: TextGraph, texts: str | Sequence[str]) -> dict[str, np.ndarray | float | int]:
    """Scores texts; see `CharLM.score`."""
    texts, single = checked_texts("texts", texts)
    encoded = [graph.vocabulary.encode(text) for text in texts]
    # Texts of similar length are scored together, because a batch is as long as its longest text.
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    results = np.zeros((len(texts), 3))
    for begin in range(0, len(order), ROWS):
        batch = order[begin : begin + ROWS]
        results[batch] = _score_rows(graph, [encoded[i] for i in batch])
    nats, characters, tokens = results.T
    scores = {
        "log_probability": nats,
        "tokens": tokens.astype(int),
        "bits_per_character": 0 - nats / np.maximum(characters, 1) / np.log(2),
        "perplexity": np.exp(0 - nats / np.maximum(tokens, 1)),
    }
    return {name: values[0].item() for name, values in scores.items()} if single else scores


def next_token_probabilities(graph: TextGraph, prompt: str) -> dict[str, float]:
    """The probabilities of the token after a prompt; see `CharLM.next_token_probabilities`."""
    prompt = checked_prompt(graph.vocabulary, prompt)
    logits, *_ = graph.prefill(tf.constant([prompt]))
    probabilities = tf.nn.softmax(tf.cast(logits[0], tf.float64)).numpy()
    order = np.argsort(-probabilities, kind="stable")
    return {graph.vocabulary.tokens[i]: float(probabilities[i]) for i in order}


def _score_rows(graph, rows):
    """(rows, 3): the sums of log-probabilities and of characters, and the number of tokens scored."""
    start = np.array(graph.vocabulary.line_start, np.int32)
    whole = [np.concatenate([start, row]) for row in rows]
    lengths = np.array([max(len(row) - 1, 0) for row in whole])
    totals = np.zeros((2, len(rows)))
    states = graph.initial_state(len(rows))
    at_once = max(1, min(SCORE_CHUNK, MAX_NUMBERS // (len(rows) * len(graph.vocabulary))))
    for begin in range(0, lengths.max(), at_once):
        tokens, targets = (_block(whole, begin + shift, min(at_once, lengths.max() - begin)) for shift in (0, 1))
        mask = begin + np.arange(tokens.shape[1]) < lengths[:, None]
        *sums, states = _split(graph.score_chunk(*map(tf.constant, (tokens, targets, mask)), *states))
        totals += sums
    return np.column_stack([*totals, lengths])


def _split(results):
    nats, characters, *states = results
    return nats.numpy(), characters.numpy(), states


def _block(rows, begin, length):
    """`row[begin : begin + length]` of every row, padded with 0."""
    block = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        piece = row[begin : begin + length]
        block[i, : len(piece)] = piece
    return block

"""How probable texts are, and what comes next, from Python: for any length, with errors that name the character."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfcharlm.generation.arguments import checked_prompt, checked_text, checked_texts
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.limits import MAX_NUMBERS
from tfcharlm.generation.scorer import SEQUENCE_BLOCK

# Rows in one call of the graph, and tokens of all rows: few enough to hold them in memory, whatever the texts are.
ROWS, TOKENS = 64, 2**16


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
    return summary(results, single)


def summary(results: np.ndarray, single: bool) -> dict[str, np.ndarray | float | int]:
    """What `CharLM.score` returns.

    Args:
        results: (texts, 3), the sums of log-probabilities and of characters, and the number of tokens scored.
        single: whether to return numbers for the only text instead of arrays.
    """
    nats, characters, tokens = results.T
    scores = {
        "log_probability": nats,
        "tokens": tokens.astype(int),
        "bits_per_character": 0 - nats / np.maximum(characters, 1) / np.log(2),
        "perplexity": np.exp(0 - nats / np.maximum(tokens, 1)),
    }
    return {name: values[0].item() for name, values in scores.items()} if single else scores


def token_log_probabilities(graph: TextGraph, text: str) -> np.ndarray:
    """The log-probabilities of the tokens of a text; see `CharLM.token_log_probabilities`."""
    ids = graph.vocabulary.encode(checked_text("text", text))
    tokens = np.concatenate([np.array(graph.vocabulary.line_start, np.int32), ids])[None]
    # What is read first is given, and has the probability 1.
    results = graph.certain_logits(tf.constant(tokens[:, :1])), *graph.initial_state(1)
    at_once = min(SEQUENCE_BLOCK, max(1, MAX_NUMBERS // sum(tensor.shape[1] for tensor in results)))
    nats = np.zeros(tokens.shape[1])
    for begin in range(0, len(nats), at_once):
        block, *results = graph.token_scores(tf.constant(tokens[:, begin : begin + at_once]), *results)
        nats[begin : begin + at_once] = block[0]
    return nats[1:]


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
    lengths = np.array([len(row) for row in whole])
    logits, states = graph.certain_logits(tf.constant(_block(whole, 0, 1))), graph.initial_state(len(rows))
    at_once = max(1, TOKENS // len(rows))
    nats = np.zeros(len(rows))
    for begin in range(0, lengths.max(), at_once):
        block = _block(whole, begin, min(at_once, lengths.max() - begin))
        left = np.clip(lengths - begin, 0, block.shape[1]).astype(np.int32)
        more, logits, *states = graph.score_ids(tf.constant(block), tf.constant(left), logits, *states)
        nats += more.numpy()
    per_token = np.array(graph.vocabulary.characters_per_token)
    characters = [per_token[row[1:]].sum() for row in whole]
    return np.column_stack([nats, characters, np.maximum(lengths - 1, 0)])


def _block(rows, begin, length):
    """`row[begin : begin + length]` of every row, padded with 0."""
    block = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        piece = row[begin : begin + length]
        block[i, : len(piece)] = piece
    return block

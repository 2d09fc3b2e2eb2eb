"""Beam search: the most likely continuations of a prompt that a search with a fixed number of candidates finds."""

import numpy as np
import tensorflow as tf

from tfcharlm.generation.arguments import checked_prompt
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.limits import ROWS
from tfcharlm.generation.sampling_settings import LENGTH
from tfcharlm.generation.streaming import TextStreamer


def beam_search(graph: TextGraph, prompt: str, max_length: int, beams: int) -> list[tuple[str, float]]:
    """The most likely continuations of a prompt; see `CharLM.beam_search`."""
    prompt = checked_prompt(graph.vocabulary, prompt)
    max_length, beams = LENGTH.check("max_length", max_length), ROWS.check("beams", beams)
    logits, *states = graph.prefill(tf.constant([prompt]))
    ids, scores = _search(graph, logits, states, max_length, beams)
    texts = [prompt + TextStreamer(graph.vocabulary).add(row, final=True) for row in ids]
    return list(zip(texts, scores.tolist(), strict=True))


def _search(graph, logits, states, length, beams):
    """Ids (K, length) and log-probabilities (K,) of the K best beams, the best first; K at most `beams`."""
    scores, ids = np.zeros(1), np.zeros((1, 0), np.int32)
    for _ in range(length):
        candidates = scores[:, None] + tf.nn.log_softmax(tf.cast(logits, tf.float64)).numpy()
        # A stable sort keeps equally likely candidates in their order.
        best = np.argsort(-candidates, axis=None, kind="stable")[:beams]
        parents, tokens = np.unravel_index(best, candidates.shape)
        scores, ids = candidates[parents, tokens], np.column_stack([ids[parents], tokens.astype(np.int32)])
        logits, *states = graph.advance(tf.constant(parents, tf.int32), tf.constant(tokens, tf.int32), *states)
    return ids, scores

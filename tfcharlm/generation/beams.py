"""Beam search: the likeliest continuations of a prompt, as far as so many candidates show them."""

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.generation.limits import LENGTH
from tfcharlm.generation.streaming import TextStreamer, checked_prompt


def beam_search(graph, prompt, max_length, beams):
    """The most likely continuations; see `CharLM.beam_search`. It takes a `TextGraph`."""
    checked_prompt(graph.vocabulary, prompt)
    max_length, beams = LENGTH.check("max_length", max_length), POSITIVE_INTEGER.check("beams", beams)
    logits, *states = graph.prefill(tf.constant([prompt]))
    ids, scores = _search(graph, logits, states, max_length, beams)
    texts = [prompt + TextStreamer(graph.vocabulary).add(row, final=True) for row in ids]
    return list(zip(texts, scores.tolist(), strict=True))


def _search(graph, logits, states, length, beams):
    """Ids (K, length) and log-probabilities (K,) of the K best beams, the best first; K at most `beams`."""
    scores, ids = np.zeros(1), np.zeros((1, 0), np.int32)
    for _ in range(length):
        candidates = scores[:, None] + tf.nn.log_softmax(tf.cast(logits, tf.float64)).numpy()
        # Stable: of equals, the one that stood first.
        best = np.argsort(-candidates, axis=None, kind="stable")[:beams]
        parents, tokens = np.unravel_index(best, candidates.shape)
        scores, ids = candidates[parents, tokens], np.column_stack([ids[parents], tokens.astype(np.int32)])
        result = graph.step(tf.constant(tokens[:, None], tf.int32), *(tf.gather(state, parents) for state in states))
        logits, states = result["logits"][:, 0], [result[f"state_{i}"] for i in range(len(states))]
    return ids, scores

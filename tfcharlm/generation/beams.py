"""Beam search: the likeliest continuations of a prompt, as far as so many candidates show them."""

import numpy as np
import tensorflow as tf

from tfcharlm.generation.limits import check_count, check_sampling
from tfcharlm.generation.writer import Continuation, checked_prompt


def beam_search(model, prompt, max_length, beams):
    """`CharLM.beam_search`."""
    checked_prompt(model.vocabulary, prompt)
    check_sampling(max_length, 1.0, 0, 1.0)
    check_count("beams", beams)
    logits, *states = model.text_graph().read(tf.constant([prompt]))
    ids, scores = _search(model, logits, states, int(max_length), int(beams))
    texts = [prompt + Continuation(model.vocabulary).add(row, final=True) for row in ids]
    return list(zip(texts, scores.tolist(), strict=True))


def _search(model, logits, states, length, beams):
    """Ids (K, length) and log-probabilities (K,) of the K best beams, the best first; K at most `beams`."""
    scores, ids = np.zeros(1), np.zeros((1, 0), np.int32)
    for _ in range(length):
        candidates = scores[:, None] + tf.nn.log_softmax(tf.cast(logits, tf.float64)).numpy()
        # Stable: of equals, the one that stood first.
        best = np.argsort(-candidates, axis=None, kind="stable")[:beams]
        parents, tokens = np.unravel_index(best, candidates.shape)
        scores, ids = candidates[parents, tokens], np.column_stack([ids[parents], tokens.astype(np.int32)])
        result = model.text_graph().step(
            tf.constant(tokens[:, None], tf.int32), *(tf.gather(state, parents) for state in states)
        )
        logits, states = result["logits"][:, 0], [result[f"state_{i}"] for i in range(len(states))]
    return ids, scores

"""Writes text with a model, one token at a time. Each token is a function of the text so far and of one number."""

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect
from tfcharlm.reference.activations import softmax
from tfcharlm.reference.model import initial_state, step
from tfcharlm.reference.parameters import Parameters


def sample(parameters: Parameters, prompt: ArrayLike, uniforms: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """Continues a prompt. Token k is a function of the text so far and of one number u[k].

        p = softmax(logits / temperature),    token = first index with cumsum(p) >= u * sum(p)

    Args:
        parameters: `Parameters`.
        prompt: integers (P,), below V, at least one.
        uniforms: (L,), numbers in (0, 1); one token is written for each.
        temperature: 1 (default) samples from the model. Below 1, likely tokens become more likely. 0 takes the most
            likely token.

    Returns:
        integers (L,), without the prompt.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import random_parameters, sample
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("lstm", 7)])
        >>> sample(parameters, [4, 8], [0.1, 0.5, 0.9]).shape
        (3,)

    Reference:
        Devroye, 1986, "Non-uniform random variate generation", section III.2 (inversion).
    """
    prompt = expect("prompt", prompt, "P", dtype=None)
    uniforms = expect("uniforms", uniforms, "L")
    if not prompt.size:
        raise ValueError("prompt is empty, expected at least one token to continue")
    if not np.all((uniforms > 0) & (uniforms < 1)) or not temperature >= 0:
        raise ValueError("expected uniforms between 0 and 1, and a temperature of 0 or more")
    logits, states, _ = step(parameters, prompt[None], initial_state(parameters, 1))
    written = np.empty(len(uniforms), np.int64)
    for k, u in enumerate(uniforms):
        written[k] = _pick(logits[0, -1], u, temperature)
        logits, states, _ = step(parameters, written[k].reshape(1, 1), states)
    return written


def _pick(logits, u, temperature):
    if temperature == 0:
        return np.argmax(logits)
    # The largest logit becomes 0 before the division, which then cannot give inf - inf.
    cumulative = np.cumsum(softmax((logits - np.max(logits)) / temperature))
    return np.searchsorted(cumulative, u * cumulative[-1], side="left")

"""Vanishing gradients, measured: how far back the gradient of a loss reaches."""

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.analysis.activations import encoded, state_kinds
from tfcharlm.checks import Bounds


def state_gradient_norms(model: keras.Model, text: str, window: int | None = None) -> tuple[dict[str, np.ndarray], ...]:
    r"""Computes the norm of the gradient of a loss with respect to every earlier state.

    $$ L = -\log p(x_N \mid x_1 \dots x_{N-1}), \qquad
       \left\lVert \frac{\partial L}{\partial h_t} \right\rVert_2, \quad
       \left\lVert \frac{\partial L}{\partial c_t} \right\rVert_2, \qquad t = 1 \dots N-1 $$

    Each derivative is total: it includes everything that is computed from a state, in the same step (c acts through h,
    and a layer through the one above) and in later steps.

    Args:
        model: a `CharLM`.
        text: a string of at least two tokens, the last of which is predicted. It is read as the start of a line. Every
            token takes one step in Python, so use hundreds of tokens, not thousands.
        window: None (default) reads the text as one sequence of N tokens. A number N cuts it into windows of N tokens,
            reads each as the start of a line, and returns means over the windows, because a single loss is noisy.

    Returns:
        One dict for each recurrent layer, bottom layer first, of float64 arrays (N - 1,). The keys are "h" and, for an
        `LSTMCell`, "c"; for any other cell "state_0", "state_1", ... The last entry belongs to the state from which the
        token is predicted.

    Raises:
        ValueError: the text has a character that is not in the vocabulary, or fewer than two tokens, or fewer than
            `window`.

    Example:

    >>> import numpy as np
    >>> import tfcharlm
    >>> from tfcharlm.analysis import state_gradient_norms
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.LSTMCell(5)])
    >>> norms = state_gradient_norms(model, "abba" * 6, window=8)
    >>> norms[0]["c"].shape, bool(np.all(norms[0]["h"] > 0))
    ((7,), True)

    Reference: Hochreiter (1991), Untersuchungen zu dynamischen neuronalen Netzen; Bengio, Simard & Frasconi (1994),
    Learning long-term dependencies with gradient descent is difficult; Pascanu, Mikolov & Bengio (2013), On the
    difficulty of training recurrent neural networks.
    """
    start, ids = encoded(model, text)
    rows = _windows(ids, window)
    tokens = np.concatenate([np.tile(start, (len(rows), 1)), rows], axis=1)
    # One step at a time, because inside a fused kernel no tensor holds a state that a gradient could refer to.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        states, visited = model.initial_state(len(rows)), []
        tape.watch(states)
        for column in tokens.T[:-1]:
            logits, states = model.step(tf.constant(column[:, None]), states)
            visited.append(states)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[:, -1], logits[:, -1])
        loss = tf.reduce_sum(losses)
    gradients = tape.gradient(loss, visited[len(start) :], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    norms = np.array([[np.mean(np.linalg.norm(np.asarray(g, np.float64), axis=1)) for g in step] for step in gradients])
    kinds = [(i, kind) for i, layer in enumerate(model.recurrent) for kind in state_kinds(layer.cell)]
    result: tuple[dict[str, np.ndarray], ...] = tuple({} for _ in model.recurrent)
    for (layer, kind), values in zip(kinds, norms.T, strict=True):
        result[layer][kind] = values
    return result


def _windows(ids, window):
    if len(ids) < 2:
        raise ValueError(f"text must have at least two tokens, the last of which is predicted; received {len(ids)}.")
    if window is None:
        return ids[None]
    window = Bounds(low=2, high=len(ids), whole=True).check("window", window, " (the tokens of the text), or None")
    count = len(ids) // window
    return ids[: count * window].reshape(count, window)

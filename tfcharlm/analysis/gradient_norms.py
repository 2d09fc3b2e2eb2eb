"""How far back a gradient reaches: vanishing gradients, measured."""

import numpy as np
import tensorflow as tf

from tfcharlm.analysis.activations import encoded, state_kinds
from tfcharlm.checks import Bounds


def state_gradient_norms(model, text, window=None):
    r"""The norm of the loss's derivative by every state before it.

    $$ L = -\log p(x_N \mid x_1 \dots x_{N-1}), \qquad
       \left\lVert \frac{\partial L}{\partial h_t} \right\rVert_2, \quad
       \left\lVert \frac{\partial L}{\partial c_t} \right\rVert_2, \qquad t = 1 \dots N-1 $$

    Each derivative is the whole one: a state acts through everything that is computed from it, in its own step (c
    through h, a layer through the one above) and in later ones.

    Args:
        model: a `CharLM`.
        text: a string of at least two tokens; its last token is the one predicted. It is read as the beginning of a
            line. Every token takes one step in Python: hundreds, not thousands.
        window: None (default): the text is one sequence of N tokens. A number N: the text is cut into windows of N
            tokens, each read as a beginning, and the norms are means over the windows. One loss alone is noisy.

    Returns:
        A dict for each recurrent layer, bottom layer first, of arrays float64 (N - 1,): "h" and, of an `LSTMCell`,
        "c"; "state_0", ... of another cell. The last entry belongs to the state from which the token was predicted.

    Raises:
        ValueError: the text has a character that the vocabulary does not have, or fewer than two tokens, or than a
            window has.

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
    # One step at a time: inside a kernel there is no tensor of a state to ask a gradient of.
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
    result = tuple({} for _ in model.recurrent)
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

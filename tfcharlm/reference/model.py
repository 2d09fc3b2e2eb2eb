"""A character language model: embedding -> recurrent layers -> softmax head, with its gradient.

    e = embedding[tokens],    y_1 = layer_1(e),    y_n = layer_n(y_{n-1})
    logits = y_N K + b,    p(next token | tokens so far) = softmax(logits)

With skip connections every layer also reads the token, and the head reads every layer. The path of a gradient is then
short for any number of layers:

    y_n = layer_n([y_{n-1}, e]),    logits = [y_1, ..., y_N] K + b

The parameters determine the kind of every layer, and whether there are skip connections; see `parameters`. The state is
an argument and a result, never a property: a state that is not passed on is lost.

Reference:
    Graves, 2013, "Generating sequences with recurrent neural networks".
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect, expect_ids
from tfcharlm.reference.activations import cross_entropy
from tfcharlm.reference.gru import GRUWeights, gru_backward, gru_forward
from tfcharlm.reference.lstm import LSTMWeights, lstm_backward, lstm_forward
from tfcharlm.reference.parameters import Parameters, has_skip_connections, layer_units
from tfcharlm.reference.rnn import rnn_backward, rnn_forward

# One tuple per layer: `(h,)` for an RNN or a GRU, `(h, c)` for an LSTM.
States = Sequence[tuple[np.ndarray, ...]]


class StepCache(NamedTuple):
    """What `step` saves for `step_backward`."""

    tokens: np.ndarray  # (B, T), zeros where masked
    layers: tuple  # one cache per layer
    outputs: np.ndarray  # (B, T, H), what the head has read


def initial_state(parameters: Parameters, batch_size: int) -> tuple[tuple[np.ndarray, ...], ...]:
    """Zeros: one tuple per layer, `(h,)` for an RNN and `(h, c)` for an LSTM, each (B, H).

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import initial_state, random_parameters
        >>> rng = np.random.default_rng(0)
        >>> parameters = random_parameters(rng, 11, 3, [("lstm", 7), ("rnn", 2)])
        >>> [[array.shape for array in state] for state in initial_state(parameters, 5)]
        [[(5, 7), (5, 7)], [(5, 2)]]
    """

    def zeros(weights):
        arrays = 2 if isinstance(weights, LSTMWeights) else 1
        return tuple(np.zeros((arrays, batch_size, len(weights.recurrent_kernel))))

    return tuple(zeros(weights) for weights in parameters.recurrent)


def _layer_forward(weights, x, state, mask, cap_input_gate):
    if isinstance(weights, LSTMWeights):
        return lstm_forward(weights, x, *state, mask, cap_input_gate)
    forward = gru_forward if isinstance(weights, GRUWeights) else rnn_forward
    outputs, h, cache = forward(weights, x, *state, mask=mask)
    return outputs, (h,), cache


def _layer_backward(weights, cache, d_outputs, d_state):
    if isinstance(weights, LSTMWeights):
        return lstm_backward(weights, cache, d_outputs, *d_state)
    backward = gru_backward if isinstance(weights, GRUWeights) else rnn_backward
    gradients, d_x, d_h = backward(weights, cache, d_outputs, *d_state)
    return gradients, d_x, (d_h,)


def step(
    parameters: Parameters,
    tokens: ArrayLike,
    states: States,
    mask: ArrayLike | None = None,
    cap_input_gate: bool = False,
) -> tuple[np.ndarray, tuple[tuple[np.ndarray, ...], ...], StepCache]:
    """Reads tokens: `logits[t] = y[t] K + b`, the prediction after token t.

    Args:
        parameters: `Parameters`; kernels that fit neither form above are a ValueError.
        tokens: integers (B, T), below V, or a ValueError; masked tokens are ignored.
        states: from `initial_state`, or from the previous step.
        mask: bool (B, T), True on real tokens; every token is real by default.
        cap_input_gate: of all LSTM layers, as in `lstm_forward`.

    Returns:
        `(logits, states, cache)`: (B, T, V), the states after the last token, and what `step_backward` needs. The
        logits at a masked position are those of the last real token of the row.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import initial_state, random_parameters, step
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("lstm", 7)])
        >>> start = initial_state(parameters, 1)
        >>> whole, *_ = step(parameters, [[4, 8, 2]], start)
        >>> _, states, _ = step(parameters, [[4, 8]], start)
        >>> bool(np.allclose(whole[:, 2:], step(parameters, [[2]], states)[0]))
        True
    """
    if len(states) != len(parameters.recurrent):
        raise ValueError(f"received {len(states)} states, expected {len(parameters.recurrent)}")
    is_real = True if mask is None else expect("mask", mask, *np.shape(tokens), dtype=bool)
    tokens = expect_ids("tokens", tokens, len(parameters.embedding), "B", "T", is_real=is_real)
    skips, x = has_skip_connections(parameters), parameters.embedding[tokens]
    e, outputs, next_states, caches = x, [], [], []
    for weights, state in zip(parameters.recurrent, states, strict=True):
        y, state, cache = _layer_forward(weights, x, state, mask, cap_input_gate)
        x = np.concatenate([y, e], axis=-1) if skips else y
        outputs.append(y)
        next_states.append(state)
        caches.append(cache)
    x = np.concatenate(outputs, axis=-1) if skips else x
    logits = x @ parameters.head_kernel + parameters.head_bias
    return logits, tuple(next_states), StepCache(tokens, tuple(caches), x)


def step_backward(
    parameters: Parameters, cache: StepCache, d_logits: ArrayLike, d_states: States | None = None
) -> tuple[Parameters, tuple[tuple[np.ndarray, ...], ...]]:
    """Derivatives of a loss with respect to the parameters and the states of `step`.

    Args:
        parameters: the `Parameters` of the forward pass.
        cache: what the forward pass saved.
        d_logits: (B, T, V), derivative with respect to the logits.
        d_states: derivatives with respect to the returned states, in their structure; zeros by default.

    Returns:
        `(gradients, d_states)`: `Parameters`, and the derivatives with respect to the states in the arguments.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import initial_state, random_parameters, step, step_backward
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("lstm", 7)])
        >>> logits, _, cache = step(parameters, [[4, 8, 4]], initial_state(parameters, 1))
        >>> gradients, _ = step_backward(parameters, cache, np.ones_like(logits))
        >>> np.flatnonzero(gradients.embedding.any(axis=1)).tolist()
        [4, 8]
    """
    d_logits = expect("d_logits", d_logits, *cache.tokens.shape, len(parameters.head_bias))
    d_y = d_logits @ parameters.head_kernel.T
    skips, units = has_skip_connections(parameters), layer_units(parameters)
    if skips:
        *d_by_head, d_y = np.split(d_y, np.cumsum(units)[:-1], axis=-1)
    recurrent, d_embedding = list(parameters.recurrent), np.zeros(parameters.embedding.shape)
    d_states = [()] * len(recurrent) if d_states is None else list(d_states)
    for n, weights in reversed(list(enumerate(recurrent))):
        results = _layer_backward(weights, cache.layers[n], d_y, d_states[n])
        recurrent[n], d_y, d_states[n] = results
        if skips and n:
            d_y, d_e = np.split(d_y, [units[n - 1]], axis=-1)
            d_y = d_y + d_by_head[n - 1]
            # `+=` would count a token only once, even if it occurs several times.
            np.add.at(d_embedding, cache.tokens, d_e)
    np.add.at(d_embedding, cache.tokens, d_y)
    d_kernel = np.einsum("bth,btv->hv", cache.outputs, d_logits)
    d_bias = np.einsum("btv->v", d_logits)
    return Parameters(d_embedding, tuple(recurrent), d_kernel, d_bias), tuple(d_states)


def loss_and_gradients(
    parameters: Parameters,
    tokens: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike | None = None,
    states: States | None = None,
    mask: ArrayLike | None = None,
    cap_input_gate: bool = False,
) -> tuple[float, Parameters, States]:
    """Cross-entropy of the targets after the tokens, and its gradient.

    Args:
        parameters: `Parameters`.
        tokens: integers (B, T), below V.
        targets: integers (B, T), below V; `targets[:, t]` is the target after `tokens[:, t]`.
        weights: (B, T), how much a target counts; by default 1 where the mask is True.
        states: the states before the tokens, `initial_state` by default. The gradient stops here. With the states of
            the previous call, this is truncated backpropagation through time.
        mask: bool (B, T), True on real tokens; every token is real by default.
        cap_input_gate: of all LSTM layers, as in `lstm_forward`.

    Returns:
        `(loss, gradients, states)`: nats per unit of weight, `Parameters`, and the states after the last token.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import loss_and_gradients, random_parameters
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("rnn", 7)], scale=0.0)
        >>> loss, *_ = loss_and_gradients(parameters, [[4, 8]], [[8, 2]])
        >>> bool(np.isclose(loss, np.log(11)))  # knows nothing
        True

    Reference:
        Williams & Peng, 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
        trajectories" (truncation).
    """
    if states is None:
        states = initial_state(parameters, np.shape(tokens)[0])
    if weights is None and mask is not None:
        weights = np.asarray(mask, bool)
    logits, states, cache = step(parameters, tokens, states, mask, cap_input_gate)
    loss, d_logits = cross_entropy(logits, targets, weights)
    gradients, _ = step_backward(parameters, cache, d_logits)
    return loss, gradients, states

"""A character language model: embedding -> recurrent layers -> softmax head, with its gradient.

    e = embedding[tokens],    y_1 = layer_1(e),    y_n = layer_n(y_{n-1})
    logits = y_N K + b,    p(next token | tokens so far) = softmax(logits)

With skip connections every layer reads the token too, and the head reads every layer, so that no
gradient has far to go, however many layers there are:

    y_n = layer_n([y_{n-1}, e]),    logits = [y_1, ..., y_N] K + b

Layers are told apart by the type of their weights, and may be mixed; skip connections are told by
the shapes of the kernels. The state is an argument and a result, never a property: what is not
passed on is forgotten.

Reference:
    Graves, 2013, "Generating sequences with recurrent neural networks".
"""

from typing import NamedTuple

import numpy as np

from tfcharlm.reference._checks import expect, expect_ids
from tfcharlm.reference.activations import cross_entropy
from tfcharlm.reference.lstm import LSTMWeights, lstm_backward, lstm_forward
from tfcharlm.reference.rnn import RNNWeights, rnn_backward, rnn_forward


class Parameters(NamedTuple):
    """Everything that is learned; also the shape of its gradient."""

    embedding: np.ndarray  # (V, E)
    recurrent: tuple  # RNNWeights or LSTMWeights, one a layer
    head_kernel: np.ndarray  # (H, V), H of the last layer, or of all of them together
    head_bias: np.ndarray  # (V,)


class StepCache(NamedTuple):
    """What `step` leaves for `step_backward`."""

    tokens: np.ndarray  # (B, T), zeros where masked
    layers: tuple  # one cache a layer
    outputs: np.ndarray  # (B, T, H), what the head has read


def random_parameters(rng, vocabulary_size, embedding_dim, layers, scale=0.5, skip_connections=False):
    """Parameters drawn from a normal distribution, biases included.

    Args:
        rng: `numpy.random.Generator`.
        vocabulary_size: V.
        embedding_dim: E.
        layers: `("rnn" or "lstm", units)` pairs, the one that reads the embedding first.
        scale: standard deviation; 0.5, for tests, bends the gates without saturating them.
        skip_connections: whether the shapes are those of a model with skip connections.

    Returns:
        `Parameters`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> parameters = random_parameters(rng, 11, 3, [("lstm", 7), ("rnn", 2)])
        >>> [weights.kernel.shape for weights in parameters.recurrent], parameters.head_kernel.shape
        ([(3, 28), (7, 2)], (2, 11))
    """

    def draw(*shape):
        return rng.normal(0.0, scale, shape)

    kinds = {"rnn": (RNNWeights, 1), "lstm": (LSTMWeights, 4)}
    embedding, recurrent, width = draw(vocabulary_size, embedding_dim), [], embedding_dim
    for kind, units in layers:
        make, gates = kinds[kind]
        columns = gates * units
        recurrent.append(make(draw(width, columns), draw(units, columns), draw(columns)))
        width = units + embedding_dim if skip_connections else units
    width = sum(units for _, units in layers) if skip_connections else width
    head_kernel, head_bias = draw(width, vocabulary_size), draw(vocabulary_size)
    return Parameters(embedding, tuple(recurrent), head_kernel, head_bias)


def initial_state(parameters, batch_size):
    """Zeros: one tuple a layer, `(h,)` for an RNN and `(h, c)` for an LSTM, each (B, H).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> parameters = random_parameters(rng, 11, 3, [("lstm", 7), ("rnn", 2)])
        >>> [[array.shape for array in state] for state in initial_state(parameters, 5)]
        [[(5, 7), (5, 7)], [(5, 2)]]
    """

    def zeros(weights):
        arrays = 2 if isinstance(weights, LSTMWeights) else 1
        return tuple(np.zeros((arrays, batch_size, len(weights.recurrent_kernel))))

    return tuple(zeros(weights) for weights in parameters.recurrent)


def _has_skip_connections(parameters):
    """What the shapes of the kernels say."""
    embedding_dim, units = parameters.embedding.shape[1], _units(parameters)
    chain = [embedding_dim, *units]
    skips = [embedding_dim, *(below + embedding_dim for below in units[:-1]), sum(units)]
    rows = [len(weights.kernel) for weights in parameters.recurrent]
    rows.append(len(parameters.head_kernel))
    if rows not in (chain, skips):
        raise ValueError(f"kernels have {rows} rows, expected {chain}, or {skips} with skip connections")
    return rows != chain


def _units(parameters):
    return [len(weights.recurrent_kernel) for weights in parameters.recurrent]


def _layer_forward(weights, x, state, mask, cap_input_gate):
    if isinstance(weights, LSTMWeights):
        return lstm_forward(weights, x, *state, mask, cap_input_gate)
    outputs, h, cache = rnn_forward(weights, x, *state, mask=mask)
    return outputs, (h,), cache


def _layer_backward(weights, cache, d_outputs, d_state):
    if isinstance(weights, LSTMWeights):
        return lstm_backward(weights, cache, d_outputs, *d_state)
    gradients, d_x, d_h = rnn_backward(weights, cache, d_outputs, *d_state)
    return gradients, d_x, (d_h,)


def step(parameters, tokens, states, mask=None, cap_input_gate=False):
    """Reads tokens: `logits[t] = y[t] K + b`, what is expected after token t.

    Args:
        parameters: `Parameters`; kernels that fit neither form above are a ValueError.
        tokens: integers (B, T), below V, or a ValueError; what stands in a masked place is ignored.
        states: as from `initial_state`, or from the step before.
        mask: bool (B, T), True on real tokens; all of them by default.
        cap_input_gate: of all LSTM layers, as in `lstm_forward`.

    Returns:
        `(logits, states, cache)`: (B, T, V), the states after the last token, and what
        `step_backward` needs. The logits of a masked place are those of its row's last real one.

    Example:
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("lstm", 7)])
        >>> start = initial_state(parameters, 1)
        >>> whole, *_ = step(parameters, [[4, 8, 2]], start)
        >>> _, states, _ = step(parameters, [[4, 8]], start)
        >>> bool(np.allclose(whole[:, 2:], step(parameters, [[2]], states)[0]))
        True
    """
    if len(states) != len(parameters.recurrent):
        raise ValueError(f"received {len(states)} states, expected {len(parameters.recurrent)}")
    keep = True if mask is None else expect("mask", mask, *np.shape(tokens), dtype=bool)
    tokens = expect_ids("tokens", tokens, len(parameters.embedding), "B", "T", keep=keep)
    skips, x = _has_skip_connections(parameters), parameters.embedding[tokens]
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


def step_backward(parameters, cache, d_logits, d_states=None):
    """Derivatives of a loss by everything that went into `step`.

    Args:
        parameters: the `Parameters` of the forward pass.
        cache: what the forward pass left.
        d_logits: (B, T, V), derivative of the loss by the logits.
        d_states: derivatives by the states that came out, in their structure; zeros by default.

    Returns:
        `(gradients, d_states)`: `Parameters`, and derivatives by the states that went in.

    Example:
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("lstm", 7)])
        >>> logits, _, cache = step(parameters, [[4, 8, 4]], initial_state(parameters, 1))
        >>> gradients, _ = step_backward(parameters, cache, np.ones_like(logits))
        >>> np.flatnonzero(gradients.embedding.any(axis=1)).tolist()
        [4, 8]
    """
    d_logits = expect("d_logits", d_logits, *cache.tokens.shape, len(parameters.head_bias))
    d_y = d_logits @ parameters.head_kernel.T
    skips, units = _has_skip_connections(parameters), _units(parameters)
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
            # `+=` would count a token once, however often it comes.
            np.add.at(d_embedding, cache.tokens, d_e)
    np.add.at(d_embedding, cache.tokens, d_y)
    d_kernel = np.einsum("bth,btv->hv", cache.outputs, d_logits)
    d_bias = np.einsum("btv->v", d_logits)
    return Parameters(d_embedding, tuple(recurrent), d_kernel, d_bias), tuple(d_states)


def loss_and_gradients(parameters, tokens, targets, weights=None, states=None, mask=None, cap_input_gate=False):
    """Cross-entropy of the targets after the tokens, and its gradient.

    Args:
        parameters: `Parameters`.
        tokens: integers (B, T), below V.
        targets: integers (B, T), below V; `targets[:, t]` is to be predicted after `tokens[:, t]`.
        weights: (B, T), how much a target counts; by default 1 where the mask is True.
        states: where the tokens go on from, `initial_state` by default. The gradient stops here,
            which is truncated backpropagation through time when states are handed on.
        mask: bool (B, T), True on real tokens; all of them by default.
        cap_input_gate: of all LSTM layers, as in `lstm_forward`.

    Returns:
        `(loss, gradients, states)`: nats per unit of weight, `Parameters`, and the states after.

    Example:
        >>> parameters = random_parameters(np.random.default_rng(0), 11, 3, [("rnn", 7)], scale=0.0)
        >>> loss, *_ = loss_and_gradients(parameters, [[4, 8]], [[8, 2]])
        >>> bool(np.isclose(loss, np.log(11)))  # knows nothing
        True

    Reference:
        Williams & Peng, 1990, "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories" (truncation).
    """
    if states is None:
        states = initial_state(parameters, np.shape(tokens)[0])
    if weights is None and mask is not None:
        weights = np.asarray(mask, bool)
    logits, states, cache = step(parameters, tokens, states, mask, cap_input_gate)
    loss, d_logits = cross_entropy(logits, targets, weights)
    gradients, _ = step_backward(parameters, cache, d_logits)
    return loss, gradients, states

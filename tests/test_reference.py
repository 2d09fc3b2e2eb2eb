"""The reference against finite differences, Keras, and enumeration of everything it can write."""

import functools
import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcharlm import reference as ref

# All sizes differ, so that swapped axes cannot agree.
B, T, D, H, V = 4, 5, 3, 7, 11
# A gap, a late start, nothing at all, and everything.
RAGGED = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
KINDS = {
    "rnn": (ref.RNNWeights, 1, ref.rnn_forward, ref.rnn_backward, keras.layers.SimpleRNN),
    "lstm": (ref.LSTMWeights, 4, ref.lstm_forward, ref.lstm_backward, keras.layers.LSTM),
    "capped lstm": (
        ref.LSTMWeights, 4, functools.partial(ref.lstm_forward, cap_input_gate=True), ref.lstm_backward, None,
    ),
}  # fmt: skip
each_kind = pytest.mark.parametrize("kind", KINDS)
each_mask = pytest.mark.parametrize("mask", [None, RAGGED], ids=["full", "ragged"])


class Layer:
    """One recurrent layer with random weights, inputs, states and derivatives by its results."""

    def __init__(self, kind, rng):
        make, gates, self._forward, self._backward, self.keras_class = KINDS[kind]
        shapes = (D, gates * H), (H, gates * H), (gates * H,)
        self.weights = make(*(rng.normal(0, 0.5, shape) for shape in shapes))
        self.x = rng.normal(size=(B, T, D))
        self.states = tuple(rng.normal(size=(1 if kind == "rnn" else 2, B, H)))
        self.d_outputs = rng.normal(size=(B, T, H))
        self.d_states = tuple(rng.normal(size=np.shape(self.states)))

    def forward(self, mask):
        outputs, states, cache = self._forward(self.weights, self.x, *self.states, mask=mask)
        return outputs, states if len(self.states) == 2 else (states,), cache

    def backward(self, mask):
        cache = self.forward(mask)[-1]
        gradients, d_x, d = self._backward(self.weights, cache, self.d_outputs, *self.d_states)
        return gradients, d_x, d if len(self.states) == 2 else (d,)

    def loss(self, mask):
        outputs, states, _ = self.forward(mask)
        return inner((outputs, *states), (self.d_outputs, *self.d_states))


def inner(values, derivatives):
    return sum(np.sum(v * d) for v, d in zip(values, derivatives, strict=True))


def check(loss, array, gradient):
    """Finite differences of `loss()`, which reads `array`."""

    def function(value):
        before = array.copy()
        array[...] = value
        result = loss()
        array[...] = before
        return result

    assert gradient.shape == array.shape
    ref.check_gradient(function, array, gradient, tolerance=1e-7)


def excess(cache):
    """By how much the input gates of an LSTM's real steps exceed what a cap lets through."""
    i, f, _, _ = np.split(cache.gates, 4, axis=-1)
    return (i - (1 - f))[cache.mask]


def nearest_bend(caches):
    """How near a gate comes to its cap: differences across the bend of a minimum are no derivative."""
    capped = (cache for cache in caches if getattr(cache, "cap_input_gate", False))
    return min((np.abs(excess(cache)).min() for cache in capped), default=1.0)


def flatten(parameters):
    embedding, recurrent, *head = parameters
    return [embedding, *itertools.chain(*recurrent), *head]


def agree(ours, theirs, tolerance=1e-12):
    theirs = [np.asarray(array) for array in theirs]
    errors = [ref.relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) <= tolerance, errors


@each_mask
@each_kind
def test_layer_gradients_against_finite_differences(kind, mask, rng):
    layer = Layer(kind, rng)
    while nearest_bend([cache := layer.forward(mask)[-1]]) < 1e-4:
        layer = Layer(kind, rng)
    if kind == "capped lstm":
        assert 0.1 < np.mean(excess(cache) > 0) < 0.9, "one side of the cap only"
    gradients, d_x, d_states = layer.backward(mask)
    arrays = [*layer.weights, layer.x, *layer.states]
    for array, gradient in zip(arrays, [*gradients, d_x, *d_states], strict=True):
        check(lambda: layer.loss(mask), array, gradient)


@each_mask
@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_layer_against_keras(kind, mask, rng):
    layer = Layer(kind, rng)
    theirs = layer.keras_class(H, return_sequences=True, return_state=True, dtype="float64")
    theirs.build((B, T, D))
    theirs.set_weights(list(layer.weights))
    x, *states = (tf.constant(array) for array in (layer.x, *layer.states))
    with tf.GradientTape() as tape:
        tape.watch([x, states])
        mask_tensor = None if mask is None else tf.constant(mask)
        outputs, *final = theirs(x, initial_state=states, mask=mask_tensor)
        loss = tf.reduce_sum(outputs * layer.d_outputs)
        loss += tf.reduce_sum(tf.stack(final) * np.stack(layer.d_states))
    variables = [weight.value for weight in theirs.weights]
    their_gradients = tape.gradient(loss, [*variables, x, *states])

    ours, our_final, _ = layer.forward(mask)
    agree([ours, *our_final], [outputs, *final])
    gradients, d_x, d_states = layer.backward(mask)
    agree([*gradients, d_x, *d_states], their_gradients)


@each_kind
def test_what_stands_in_a_masked_step_reaches_nothing(kind, rng):
    layer = Layer(kind, rng)
    layer.x[~RAGGED] = 0.0
    clean = [*layer.forward(RAGGED)[:2], *layer.backward(RAGGED)]
    layer.x[~RAGGED] = rng.choice([np.nan, np.inf, -np.inf], (np.sum(~RAGGED), D))
    for a, b in zip([*layer.forward(RAGGED)[:2], *layer.backward(RAGGED)], clean, strict=True):
        np.testing.assert_equal(a, b)
    assert np.all(layer.backward(RAGGED)[1][~RAGGED] == 0)


@pytest.mark.parametrize("cap", [False, True])
def test_step_gate_by_gate(cap, rng):
    weights, (h, c), x = (layer := Layer("lstm", rng)).weights, layer.states, layer.x[:, 0]
    gates = ref.split_gates(weights)
    h_next, c_next = ref.lstm_step(weights, x, h, c, cap_input_gate=cap)
    for row in range(B):
        column = np.concatenate([h[row], x[row]])
        z_f, z_i, z_c, z_o = (gates[f"W_{k}"] @ column + gates[f"b_{k}"] for k in "fico")
        # sigmoid(z) < 1 - sigmoid(y) if z < -y.
        z_a = np.minimum(z_i, -z_f) if cap else z_i
        expected_c = c[row] / (1 + np.exp(-z_f)) + np.tanh(z_c) / (1 + np.exp(-z_a))
        expected_h = np.tanh(expected_c) / (1 + np.exp(-z_o))
        agree([h_next[row], c_next[row]], [expected_h, expected_c])
    np.testing.assert_equal(ref.fuse_gates(gates), weights)


def test_step_matrix_by_matrix(rng):
    weights, (h,), x = (layer := Layer("rnn", rng)).weights, layer.states, layer.x[:, 0]
    matrices = ref.split_matrices(weights)
    columns = matrices["W_hh"] @ h.T + matrices["W_xh"] @ x.T + matrices["b_h"][:, None]
    agree([ref.rnn_step(weights, x, h)], [np.tanh(columns).T])
    np.testing.assert_equal(ref.fuse_matrices(matrices), weights)


@each_mask
@pytest.mark.parametrize(
    ("layers", "skips", "cap"),
    [
        ([("rnn", 7)], False, False),
        ([("lstm", 7), ("rnn", 2)], False, False),
        ([("lstm", 2)] * 2, False, True),
        ([("rnn", 7), ("lstm", 2)], True, False),
        ([("lstm", 6), ("rnn", 7), ("lstm", 2)], True, True),
    ],
)
def test_model_gradients_against_finite_differences(layers, skips, cap, mask, rng):
    parameters = ref.random_parameters(rng, V, D, layers, skip_connections=skips)
    tokens, targets = rng.integers(V, size=(2, B, T))
    weights = rng.uniform(size=(B, T)) * (rng.uniform(size=(B, T)) < 0.8)
    states = [tuple(rng.normal(size=np.shape(s))) for s in ref.initial_state(parameters, B)]
    while nearest_bend(ref.step(parameters, tokens, states, mask, cap)[-1].layers) < 1e-4:
        parameters = ref.random_parameters(rng, V, D, layers, skip_connections=skips)
    d_final = [tuple(rng.normal(size=np.shape(state))) for state in states]

    def loss():
        logits, final, _ = ref.step(parameters, tokens, states, mask, cap)
        cross_entropy, _ = ref.cross_entropy(logits, targets, weights)
        return cross_entropy + sum(map(inner, final, d_final))

    # One gradient comes through the logits, one through the final states; their sum is checked.
    arguments = tokens, targets, weights, states, mask, cap
    _, by_logits, _ = ref.loss_and_gradients(parameters, *arguments)
    logits, _, cache = ref.step(parameters, tokens, states, mask, cap)
    by_final, _ = ref.step_backward(parameters, cache, np.zeros_like(logits), d_final)
    flat = map(flatten, (parameters, by_logits, by_final))
    for array, *gradients in zip(*flat, strict=True):
        check(loss, array, sum(gradients))

    _, d_logits = ref.cross_entropy(logits, targets, weights)
    _, d_states = ref.step_backward(parameters, cache, d_logits, d_final)
    for array, gradient in zip(itertools.chain(*states), itertools.chain(*d_states), strict=True):
        check(loss, array, gradient)


def test_skip_connections_token_by_token(rng):
    kinds, units = ("lstm", "rnn", "lstm"), (6, 7, 2)
    parameters = ref.random_parameters(rng, V, D, list(zip(kinds, units, strict=True)), skip_connections=True)
    tokens, states = rng.integers(V, size=(B, T)), ref.initial_state(parameters, B)
    logits, final, _ = ref.step(parameters, tokens, states, cap_input_gate=True)
    of_layers = np.split(parameters.head_kernel, np.cumsum(units)[:-1])
    states = list(states)
    for t in range(T):
        x = e = parameters.embedding[tokens[:, t]]
        expected = parameters.head_bias
        for n, weights in enumerate(parameters.recurrent):
            if n == 1:
                states[n] = (ref.rnn_step(weights, x, *states[n]),)
            else:
                states[n] = ref.lstm_step(weights, x, *states[n], cap_input_gate=True)
            x = np.hstack([states[n][0], e])
            expected = expected + states[n][0] @ of_layers[n]
        agree([logits[:, t]], [expected])
    agree(itertools.chain(*states), itertools.chain(*final))


def test_padding_reaches_nothing_in_the_model(rng):
    parameters = ref.random_parameters(rng, V, D, [("lstm", H), ("rnn", 2)])
    tokens, targets = np.where(RAGGED, rng.integers(V, size=(2, B, T)), 0)
    clean = ref.loss_and_gradients(parameters, tokens, targets, mask=RAGGED)
    tokens, targets = (np.where(RAGGED, ids, -(10**6)) for ids in (tokens, targets))
    np.testing.assert_equal(ref.loss_and_gradients(parameters, tokens, targets, mask=RAGGED), clean)
    with pytest.raises(ValueError, match=f"tokens has ids .* expected 0 to {V - 1}"):
        ref.loss_and_gradients(parameters, tokens, targets)


def test_softmax_and_cross_entropy_of_large_logits():
    logits = np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]])
    np.testing.assert_allclose(ref.softmax(logits), [[1, 0, 0], [1 / 3] * 3])
    loss, d_logits = ref.cross_entropy(logits, [2, 0])
    assert loss == pytest.approx((2e4 + np.log(3)) / 2, rel=1e-15)
    np.testing.assert_allclose(d_logits, [[0.5, 0, -0.5], [-1 / 3, 1 / 6, 1 / 6]], atol=1e-15)
    np.testing.assert_allclose(ref.sigmoid(np.array([-800.0, -50.0])), np.exp([-800.0, -50.0]))


def test_cross_entropy_weights(rng):
    logits, targets = rng.normal(size=(2, T, V)), rng.integers(V, size=(2, T))
    weights = rng.uniform(size=(2, T)) * [[1], [0]]
    loss, d_logits = ref.cross_entropy(logits, targets, weights)
    check(lambda: ref.cross_entropy(logits, targets, weights)[0], logits, d_logits)
    each = keras.losses.sparse_categorical_crossentropy(targets[0], logits[0], from_logits=True)
    agree([loss], [np.average(each, weights=weights[0])])

    logits[1], targets[1] = np.nan, 10**6
    np.testing.assert_equal(ref.cross_entropy(logits, targets, weights), (loss, d_logits))
    nothing = ref.cross_entropy(logits, targets, np.zeros((2, T)))
    np.testing.assert_equal(nothing, (0.0, np.zeros((2, T, V))))


KERAS_OPTIMIZERS = {
    ref.sgd: keras.optimizers.SGD,
    ref.adagrad: keras.optimizers.Adagrad,
    ref.rmsprop: keras.optimizers.RMSprop,
    ref.adam: keras.optimizers.Adam,
}


# Keras rounds these numbers to float32 on their way to a float64 variable: these are exact in both.
@pytest.mark.parametrize(
    "optimizer, arguments",
    [
        (ref.sgd, {"learning_rate": 2**-6}),
        (ref.sgd, {"learning_rate": 2**-6, "momentum": 0.875}),
        (ref.adagrad, {"learning_rate": 2**-6, "initial_accumulator_value": 0.125}),
        (ref.adagrad, {"learning_rate": 0.5, "initial_accumulator_value": 0.0}),
        (ref.rmsprop, {"learning_rate": 2**-6, "rho": 0.75}),
        (ref.adam, {"learning_rate": 2**-6, "beta_1": 0.875, "beta_2": 1 - 2**-10}),
        (ref.adam, {"learning_rate": 0.5, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.125}),
    ],
)
def test_optimizer_against_keras(optimizer, arguments, rng):
    theirs = KERAS_OPTIMIZERS[optimizer](**arguments)
    parameter, state = rng.normal(size=(D, H)), None
    variable = keras.Variable(parameter, dtype="float64")
    for _ in range(20):
        gradient = rng.normal(size=(D, H))
        parameter, state = optimizer(parameter, gradient, state, **arguments)
        theirs.apply([tf.constant(gradient)], [variable])
    agree([parameter], [variable])


@pytest.mark.parametrize("optimizer", KERAS_OPTIMIZERS)
def test_optimizer_defaults_are_those_of_keras(optimizer):
    config = KERAS_OPTIMIZERS[optimizer]().get_config()
    _, _, _, *arguments = inspect.signature(optimizer).parameters.values()
    for argument in arguments:
        assert argument.default == pytest.approx(config[argument.name], rel=1e-6), argument.name


@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_clipping_against_tensorflow(limit, rng):
    gradients = ref.random_parameters(rng, V, D, [("lstm", H)])
    clipped, norm = ref.clip_by_global_norm(gradients, limit)
    theirs, their_norm = tf.clip_by_global_norm(flatten(gradients), limit)
    assert isinstance(clipped, ref.Parameters) and isinstance(clipped.recurrent[0], ref.LSTMWeights)
    agree([*flatten(clipped), norm], [*theirs, their_norm])
    by_value = flatten(ref.clip_by_value(gradients, limit))
    agree(by_value, [tf.clip_by_value(array, -limit, limit) for array in flatten(gradients)])


def test_directional_derivative_sees_one_wrong_entry(rng):
    array = rng.normal(size=(100, 100))
    gradient = np.cos(array)
    measured, claimed = ref.directional_derivative(lambda a: np.sin(a).sum(), array, gradient, rng)
    assert measured == pytest.approx(claimed, rel=1e-6)
    gradient[3, 5] += 1.0
    measured, claimed = ref.directional_derivative(lambda a: np.sin(a).sum(), array, gradient, rng)
    assert measured != pytest.approx(claimed, rel=1e-6)
    with pytest.raises(AssertionError, match=r"\(3, 5\)"):
        ref.check_gradient(lambda a: np.sin(a).sum(), array[:7, :7], gradient[:7, :7])


def probability(parameters, prompt, text):
    """Of a text after a prompt, by the loss of the whole in one piece."""
    whole = np.array([[*prompt, *text]])
    weights = np.arange(1, whole.size)[None] >= len(prompt)
    loss, _, _ = ref.loss_and_gradients(parameters, whole[:, :-1], whole[:, 1:], weights)
    return np.exp(-loss * len(text))


def test_sample_frequencies_against_every_string(rng):
    parameters = ref.random_parameters(rng, 3, 2, [("rnn", 5)], scale=1.0)
    prompt, strings, samples = [1, 0], list(itertools.product(range(3), repeat=3)), 2000
    probabilities = np.array([probability(parameters, prompt, text) for text in strings])
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    drawn = [ref.sample(parameters, prompt, u) @ [9, 3, 1] for u in rng.uniform(size=(samples, 3))]
    observed, expected = np.bincount(drawn, minlength=27), samples * probabilities
    # 26 degrees of freedom: mean 26, standard deviation 7.2.
    assert np.sum((observed - expected) ** 2 / expected) < 26 + 4 * 7.2


@pytest.mark.parametrize("temperature", [0, 1e-300, 0.5, 1, 2.5])
def test_sample_reads_all_that_it_wrote(temperature, rng):
    """The same text comes from a model that reads everything anew before each letter."""
    for _ in range(5):
        parameters = ref.random_parameters(rng, V, D, [("lstm", H), ("rnn", 5)], scale=2.0)
        prompt, uniforms = rng.integers(V, size=2), rng.uniform(size=20)
        text = list(prompt)
        for u in uniforms:
            logits = ref.step(parameters, [text], ref.initial_state(parameters, 1))[0][0, -1]
            if temperature < 0.1:
                text.append(np.argmax(logits))
            else:
                p = np.exp(logits / temperature) / np.sum(np.exp(logits / temperature))
                text.append(next(k for k in range(V) if np.sum(p[: k + 1]) >= u))
        assert ref.sample(parameters, prompt, uniforms, temperature).tolist() == text[2:]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, s: ref.step(p, [[0.5]], s), "tokens has dtype float64, expected integers"),
        (lambda p, s: ref.step(p, [[-1]], s), "tokens has ids from -1 to -1, expected 0 to 10"),
        (lambda p, s: ref.step(p, [0], s), r"tokens has shape \(1,\), expected \(B, T\)"),
        (lambda p, s: ref.step(p, [[0]], s[1:]), "received 1 states, expected 2"),
        (
            lambda p, s: ref.step(p._replace(head_kernel=np.zeros((9, V))), [[0]], s),
            r"^kernels have \[3, 7, 9\] rows, expected \[3, 7, 2\], or \[3, 10, 9\] with skip connections$",
        ),
        (lambda p, s: ref.sample(p, np.zeros(0, int), [0.5]), "prompt is empty"),
        (lambda p, s: ref.sample(p, [0], [1.0]), "uniforms between 0 and 1"),
        (lambda p, s: ref.lstm_forward(p.recurrent[0], np.zeros((B, T, 4))), r"\(B, T, 3\)"),
        (lambda p, s: ref.rnn_forward(ref.RNNWeights(*p.recurrent[0]), s[0][0]), r"\(D, 7\)"),
        (lambda p, s: ref.cross_entropy(np.zeros((2, V)), [0, 1], [1, -1]), "not negative"),
    ],
)
def test_errors_name_what_was_received_and_expected(call, message, rng):
    parameters = ref.random_parameters(rng, V, D, [("lstm", H), ("rnn", 2)])
    with pytest.raises(ValueError, match=message):
        call(parameters, ref.initial_state(parameters, 1))

"""Native kernels beside NumPy: random sequences of all kinds, and how far results are from the reference."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from helpers.masks import make_mask
from tfcharlm import kernels, reference

RECURRENCES = {"rnn": kernels.RNN, "lstm": kernels.LSTM, "capped": kernels.CAPPED_LSTM, "gru": kernels.GRU}
SINGLE = {"rnn": (reference.RNNWeights, reference.rnn_forward, reference.rnn_backward),
          "gru": (reference.GRUWeights, reference.gru_forward, reference.gru_backward)}  # fmt: skip
MASKS = ["none", "holes", "padding", "a row of nothing"]


class Case(NamedTuple):
    """A recurrence and sizes: B rows, T steps, D numbers or symbols, H units."""

    kind: str
    batch: int
    length: int
    width: int
    units: int
    ids: bool
    mask: str
    use_bias: bool
    save: bool


def random_case(rng):
    """Most are small. Some have many units, rows, steps or symbols; most widths are no multiple of a vector."""
    shape = rng.choice(["small", "small", "small", "wide", "many rows", "long", "many symbols"])
    case = Case(
        kind=str(rng.choice(list(RECURRENCES))),
        batch=int(rng.integers(100, 600) if shape == "many rows" else rng.integers(1, 40)),
        length=int(rng.integers(100, 600) if shape == "long" else rng.integers(1, 12)),
        width=int(rng.integers(250, 2500) if shape == "many symbols" else rng.integers(1, 70)),
        units=int(rng.integers(200, 701) if shape == "wide" else rng.integers(1, 80)),
        ids=bool(rng.random() < 0.5),
        mask=str(rng.choice(MASKS)),
        use_bias=bool(rng.random() < 0.7),
        save=bool(rng.random() < 0.7),
    )
    # Among more gates, one of a capped cell is so near its cap that rounding decides where a gradient goes.
    fewer = max(1, 50_000 // (case.length * case.units)) if case.kind == "capped" else case.batch
    return case._replace(batch=min(case.batch, fewer))


def random_arguments(rng, case):
    """float32 arrays: weights, inputs, mask, states, and gradients of the outputs and of the last states."""
    columns = case.units * RECURRENCES[case.kind].num_blocks
    scale = 1 if case.ids else 1 / np.sqrt(case.width)
    kernel = rng.normal(size=(case.width, columns)) * scale
    # Larger matrices would make a long sequence chaotic: any rounding would grow with every step.
    contraction = 1 if case.length < 100 else 0.5
    recurrent_kernel = rng.normal(size=(case.units, columns)) * contraction / np.sqrt(case.units)
    bias = rng.normal(size=(2, columns) if case.kind == "gru" else columns) if case.use_bias else None
    rows = case.batch, case.length
    inputs = rng.integers(case.width, size=rows) if case.ids else rng.normal(size=(*rows, case.width))
    count = len(RECURRENCES[case.kind].state_names)
    states, d_states = (rng.normal(size=(count, case.batch, case.units)) for _ in range(2))
    mask = make_mask(rng, case.mask, *rows)
    d_outputs = rng.normal(size=(*rows, case.units))
    if mask is not None:
        # Before its first real step a row has no output.
        d_outputs = np.where((np.cumsum(mask, axis=1) > 0)[..., None], d_outputs, 0)

    def single(array):
        return None if array is None else array.astype(np.float32)

    weights = tuple(map(single, (kernel, recurrent_kernel, bias)))
    inputs = inputs.astype(np.int32 if case.ids else np.float32)
    return weights, inputs, mask, list(map(single, states)), single(d_outputs), list(map(single, d_states))


def kernel_results(case, weights, inputs, mask, states, d_outputs, d_states):
    """Outputs, last states, and the gradients of weights, states and inputs, each an array."""
    present = [tf.constant(weight) for weight in weights if weight is not None]
    inputs, states = tf.constant(inputs), list(map(tf.constant, states))
    sources = [*present, *states, *([] if case.ids else [inputs])]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        all_weights = tuple(present) if case.use_bias else (*present, None)
        outputs, last = kernels.run_recurrence(
            RECURRENCES[case.kind], all_weights, inputs, states, mask, save_for_backward=case.save
        )
    gradients = tape.gradient([outputs, *last], sources, [tf.constant(d_outputs), *map(tf.constant, d_states)])
    return [result.numpy() for result in (outputs, *last, *gradients)]


def reference_results(case, weights, inputs, mask, states, d_outputs, d_states):
    """The same from NumPy, in float64."""
    kernel, recurrent_kernel, bias = (None if w is None else w.astype(np.float64) for w in weights)
    bias = np.zeros((2, kernel.shape[1]) if case.kind == "gru" else kernel.shape[1]) if bias is None else bias
    x = np.eye(case.width)[inputs] if case.ids else inputs.astype(np.float64)
    states, d_states = ([array.astype(np.float64) for array in arrays] for arrays in (states, d_states))
    d_outputs = d_outputs.astype(np.float64)
    if case.kind in SINGLE:
        make, forward, backward = SINGLE[case.kind]
        all_weights = make(kernel, recurrent_kernel, bias)
        outputs, last, cache = forward(all_weights, x, *states, mask=mask)
        d_weights, d_x, d_first = backward(all_weights, cache, d_outputs, *d_states)
        last, d_first = [last], [d_first]
    else:
        all_weights = reference.LSTMWeights(kernel, recurrent_kernel, bias)
        capped = case.kind == "capped"
        outputs, last, cache = reference.lstm_forward(all_weights, x, *states, mask=mask, cap_input_gate=capped)
        d_weights, d_x, d_first = reference.lstm_backward(all_weights, cache, d_outputs, *d_states)
    d_weights = [*d_weights][: 3 if case.use_bias else 2]
    return [outputs, *last, *d_weights, *d_first, *([] if case.ids else [d_x])]


def _has_a_tie(case, weights, inputs, mask, states, d_outputs, d_states):
    """Whether rounding decides which gate the gradient of a cap goes to."""
    if case.kind != "capped":
        return False
    kernel, recurrent_kernel, bias = weights
    x = np.eye(case.width)[inputs] if case.ids else inputs
    all_weights = reference.LSTMWeights(kernel, recurrent_kernel, np.zeros(kernel.shape[1]) if bias is None else bias)
    *_, cache = reference.lstm_forward(all_weights, x, *states, mask=mask, cap_input_gate=True)
    i, f, _, _ = np.split(cache.gates, 4, axis=-1)
    return np.abs(i + f - 1).min() < 1e-6


def check_against_numpy(rng, case):
    """Every result within a fraction of its largest number.

    The gradient of a weight is a sum over all steps of all rows, which may cancel. Its error is compared with what so
    many random numbers add up to, if that is larger.
    """
    # The kernels in TensorFlow add up in longer sums.
    tolerance = 2e-6 if kernels.why_not_native() is None else 1e-5
    arguments = random_arguments(rng, case)
    while _has_a_tie(case, *arguments):
        arguments = random_arguments(rng, case)
    mask, states = arguments[2:4]
    results, expected = kernel_results(case, *arguments), reference_results(case, *arguments)
    if mask is not None:
        results[0] = np.where((np.cumsum(mask, axis=1) > 0)[..., None], results[0], 0)
    for i, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        is_sum = 1 + len(states) <= i < 1 + len(states) + 2 + case.use_bias
        usual = np.sqrt(case.batch * case.length) if is_sum else 1e-3
        largest = max(np.abs(wanted).max(initial=0), usual)
        error = np.abs(result - wanted).max(initial=0) / largest
        assert error <= tolerance, f"{case}: result {i} differs by {error:.1e} of its largest number"

"""From Keras's fused arrays to the matrices of the tutorials, and back.

Keras multiplies row vectors from the left, `x K`, and keeps the four gates of an LSTM side by side in one array. Papers
and tutorials multiply column vectors from the right, with one matrix per gate:

    RNN     h = tanh(W_hh h + W_xh x + b_h)
    LSTM    f = sigmoid(W_f [h; x] + b_f), and so on for i, c (the candidate) and o

where `[h; x]` is the column of H + D entries with the state on top. Conversion only transposes and splits arrays, so
the values are the same to the bit.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect, expect_weights
from tfcharlm.reference.lstm import LSTMWeights
from tfcharlm.reference.rnn import RNNWeights

GATE_NAMES = ("i", "f", "c", "o")


def split_matrices(weights: RNNWeights) -> dict[str, np.ndarray]:
    """The matrices of `h = tanh(W_hh h + W_xh x + b_h)` from `RNNWeights`.

    Args:
        weights: `RNNWeights` with D inputs and H units.

    Returns:
        dict of `W_hh` (H, H), `W_xh` (H, D) and `b_h` (H,), copies.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import RNNWeights, split_matrices
        >>> matrices = split_matrices(RNNWeights(np.ones((3, 2)), np.eye(2), np.zeros(2)))
        >>> {name: array.shape for name, array in matrices.items()}
        {'W_hh': (2, 2), 'W_xh': (2, 3), 'b_h': (2,)}
    """
    kernel, recurrent_kernel, bias = expect_weights(weights, num_blocks=1)
    return {"W_hh": recurrent_kernel.T.copy(), "W_xh": kernel.T.copy(), "b_h": bias.copy()}


def fuse_matrices(matrices: Mapping[str, ArrayLike]) -> RNNWeights:
    """`RNNWeights` from the matrices of `h = tanh(W_hh h + W_xh x + b_h)`.

    Args:
        matrices: mapping with `W_hh` (H, H), `W_xh` (H, D) and `b_h` (H,).

    Returns:
        `RNNWeights`, copies.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import fuse_matrices
        >>> matrices = {"W_hh": np.eye(2), "W_xh": np.ones((2, 3)), "b_h": np.zeros(2)}
        >>> fuse_matrices(matrices).kernel.shape
        (3, 2)
    """
    units = np.size(matrices["b_h"])
    return RNNWeights(
        expect("W_xh", matrices["W_xh"], units, "D").T.copy(),
        expect("W_hh", matrices["W_hh"], units, units).T.copy(),
        expect("b_h", matrices["b_h"], units).copy(),
    )


def split_gates(weights: LSTMWeights) -> dict[str, np.ndarray]:
    """One matrix `W` and one bias `b` per gate, for `gate = activation(W [h; x] + b)`.

    Args:
        weights: `LSTMWeights` with D inputs and H units.

    Returns:
        dict of copies: `W_i`, `W_f`, `W_c`, `W_o`, each (H, H + D), and `b_i`, `b_f`, `b_c`, `b_o`,
        each (H,).

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import LSTMWeights, split_gates
        >>> gates = split_gates(LSTMWeights(np.ones((3, 8)), np.zeros((2, 8)), np.arange(8)))
        >>> gates["W_f"].shape, gates["b_f"]
        ((2, 5), array([2., 3.]))
    """
    kernel, recurrent_kernel, bias = expect_weights(weights, num_blocks=4)
    columns = np.concatenate([recurrent_kernel, kernel])
    matrices = {f"W_{gate}": block.T.copy() for gate, block in _blocks(columns)}
    return matrices | {f"b_{gate}": block.copy() for gate, block in _blocks(bias)}


def _blocks(array):
    return zip(GATE_NAMES, np.split(array, 4, axis=-1), strict=True)


def fuse_gates(gates: Mapping[str, ArrayLike]) -> LSTMWeights:
    """`LSTMWeights` from one matrix and one bias per gate.

    Args:
        gates: mapping with `W_i`, `W_f`, `W_c`, `W_o`, each (H, H + D), which act on `[h; x]`, and
            `b_i`, `b_f`, `b_c`, `b_o`, each (H,). The biases determine H.

    Returns:
        `LSTMWeights`, copies.

    Raises:
        ValueError: a matrix acts on fewer than H entries, or has another shape than `W_i`.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import LSTMWeights, fuse_gates, split_gates
        >>> weights = LSTMWeights(np.ones((3, 8)), np.zeros((2, 8)), np.arange(8.0))
        >>> all(np.array_equal(*pair) for pair in zip(fuse_gates(split_gates(weights)), weights))
        True
    """
    units, width = np.size(gates["b_i"]), np.shape(gates["W_i"])[-1]
    if width < units:
        raise ValueError(f"W_i acts on {width} entries, expected the {units} of h and those of x")
    columns = [expect(f"W_{gate}", gates[f"W_{gate}"], units, width).T for gate in GATE_NAMES]
    bias = [expect(f"b_{gate}", gates[f"b_{gate}"], units) for gate in GATE_NAMES]
    recurrent_kernel, kernel = np.split(np.concatenate(columns, axis=-1), [units])
    return LSTMWeights(kernel, recurrent_kernel, np.concatenate(bias))

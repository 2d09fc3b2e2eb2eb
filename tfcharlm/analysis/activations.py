"""The gates and states of every layer after every token of a text, computed from the weights."""

import codecs
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.checks import Bounds, short_repr
from tfcharlm.kernels import record_values
from tfcharlm.layers import RecurrentCell


@dataclasses.dataclass(frozen=True, eq=False)
class Activations:
    """Gates and states of a model over the T tokens of a text, as `record_activations` returns them.

    Args:
        pieces: T strings: what each token adds to the text. Joined, they are the text. At level "byte", a character
            belongs to its last byte, and the bytes before it have "".
        layers: one dict for each recurrent layer, bottom layer first, of arrays (T, units). The keys are "i", "f", "g",
            "o", "c" and "h" for an `LSTMCell`, "z", "r", "g" and "h" for a `GRUCell`, "h" for an `RNNCell`, what its
            `step` names for a cell of your own, and "state_0", "state_1", ... for any other cell.
        gate_names: the keys that are gates, with values between 0 and 1. Default: those of an LSTM.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.analysis import Activations
    >>> recorded = Activations(("a", "b", "c"), ({"h": np.zeros((3, 5))},))
    >>> recorded.text, recorded.part(1, 3).text, recorded.part(1, 3).layers[0]["h"].shape
    ('abc', 'bc', (2, 5))
    """

    pieces: tuple[str, ...]
    layers: tuple[Mapping[str, np.ndarray], ...]
    gate_names: tuple[str, ...] = ("i", "f", "o")

    @property
    def text(self) -> str:
        """The text that was read."""
        return "".join(self.pieces)

    def part(self, begin: int, end: int) -> "Activations":
        """The activations of the tokens from `begin` (included) to `end` (excluded)."""
        layers = tuple({kind: array[begin:end] for kind, array in layer.items()} for layer in self.layers)
        return Activations(self.pieces[begin:end], layers, self.gate_names)


def record_activations(model: keras.Model, text: str) -> Activations:
    r"""Records the gates and states of a model while it reads a text.

    $$ i_t = \sigma(z_i), \quad f_t = \sigma(z_f), \quad g_t = \phi(z_g), \quad o_t = \sigma(z_o), \quad
       (z_i, z_f, z_g, z_o) = x_t W + h_{t-1} U + b $$
    $$ c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \phi(c_t) $$

    Args:
        model: a `CharLM`.
        text: a string of at least one token. It is read as the start of a line: after a newline, if the vocabulary has
            one. `generate` and `score` read in the same way.

    Returns:
        `Activations`. Row t of an array belongs to token t of the text: the gates while the token was read, and the
        states after it. The newline before the text has no row. With `cap_input_gate`, i is the capped gate.

    Raises:
        ValueError: the text is empty, or has a character that is not in the vocabulary.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import record_activations
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5), tfcharlm.RNNCell(3)])
    >>> recorded = record_activations(model, "cab")
    >>> recorded.pieces, recorded.layers[0]["f"].shape, sorted(recorded.layers[1])
    (('c', 'a', 'b'), (3, 5), ['h'])

    Reference: Karpathy, Johnson & Fei-Fei (2015), Visualizing and understanding recurrent networks.
    """
    start, ids = encoded(model, text)
    vectors = tf.gather(model.embedding.embeddings, np.concatenate([start, ids])[None])
    vectors = tf.cast(vectors, model.compute_dtype)
    outputs: list[tf.Tensor] = []
    layers = []
    for layer in model.recurrent:
        output, arrays = _forward(layer, model.layer_inputs(vectors, outputs))
        outputs.append(output)
        layers.append({kind: np.asarray(array)[len(start) :] for kind, array in arrays.items()})
    gate_names = dict.fromkeys(name for layer in model.recurrent for name in getattr(layer.cell, "gate_names", ()))
    return Activations(_pieces(model.vocabulary, ids), tuple(layers), tuple(gate_names))


def follow_unit(
    model: keras.Model, text: str, layer: int = 0, kind: str | None = None, unit: int = 0
) -> dict[str, Any]:
    """The values of one unit while a model reads a text, as plain data for a page or another program.

    Args:
        model: a `CharLM`.
        text: a string of at least one token.
        layer: number of the recurrent layer, from 0 (default).
        kind: a key of `Activations.layers`, such as "c"; None (default) for the output of the layer.
        unit: number of the unit, from 0 (default).

    Returns:
        A dictionary: "kinds", a list of `[layer, kind, number of units]`; "pieces", what each token adds to the text;
        "values", the number of the unit for each token.

    Raises:
        ValueError: there is no such layer, kind or unit; or the text cannot be read.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import follow_unit
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(3)])
    >>> followed = follow_unit(model, "cab", unit=2)
    >>> followed["kinds"], followed["pieces"], len(followed["values"])
    ([[0, 'h', 3]], ['c', 'a', 'b'], 3)
    """
    recorded = record_activations(model, text)
    kinds = [[i, name, array.shape[1]] for i, one in enumerate(recorded.layers) for name, array in one.items()]
    Bounds(low=0, high=len(recorded.layers) - 1, whole=True).check("layer", layer)
    arrays = recorded.layers[layer]
    kind = state_kinds(model.recurrent[layer].cell)[0] if kind is None else kind
    if kind not in arrays:
        raise ValueError(f"kind must be one of {', '.join(arrays)}; received {short_repr(kind)}.")
    Bounds(low=0, high=arrays[kind].shape[1] - 1, whole=True).check("unit", unit)
    return {"kinds": kinds, "pieces": list(recorded.pieces), "values": arrays[kind][:, unit].tolist()}


def encoded(model: keras.Model, text: str) -> tuple[np.ndarray, np.ndarray]:
    """`(start, ids)`: the ids that are read before every text, and those of this text; ValueError for an empty text."""
    if not isinstance(text, str) or not text:
        raise ValueError(f"text must be a string of at least one character; received {text!r:.80}.")
    return np.array(model.vocabulary.line_start, np.int32), model.vocabulary.encode(text)


def state_kinds(cell: keras.layers.Layer) -> tuple[str, ...]:
    """The names of a cell's states, in the cell's order."""
    if isinstance(cell, RecurrentCell):
        return cell.state_names
    return tuple(f"state_{i}" for i, _ in enumerate(keras.tree.flatten(cell.state_size)))


def _forward(layer, inputs):
    """`(outputs (1, T, units), {kind: (T, units)})` of a layer that starts from a zero state."""
    states = list(layer.get_initial_state(1))
    by_step = not isinstance(layer.cell, RecurrentCell) or layer.why_not_fused is not None
    # A loop outside a graph takes ten times as long. A concrete function, because TensorFlow warns about a tf.function
    # that is made again for every layer.
    example = inputs[:, :1] if by_step else inputs
    cell = layer.cell
    compute = (
        layer.run
        if by_step
        else lambda x, states: record_values(cell.recurrence, cell.weight_tensors(), x, states, cell.compute_dtype)
    )
    run = tf.function(lambda x, states: compute(x, states), autograph=False).get_concrete_function(example, states)
    if by_step:
        return _read_by_step(run, state_kinds(layer.cell), inputs, states)
    values = run(inputs, states)
    outputs = tf.cast(values[cell.state_names[0]][None], layer.compute_dtype)
    return outputs, values


def _read_by_step(run, kinds, inputs, states):
    outputs, rows = [], []
    for t in range(inputs.shape[1]):
        output, states = run(inputs[:, t : t + 1], states)
        outputs.append(output)
        rows.append([np.asarray(state[0]) for state in keras.tree.flatten(states)])
    arrays = map(np.stack, zip(*rows, strict=True))
    return tf.concat(outputs, axis=1), dict(zip(kinds, arrays, strict=True))


def _pieces(vocabulary, ids):
    if vocabulary.level != "byte":
        return tuple(vocabulary.tokens[i] for i in ids)
    decoder = codecs.getincrementaldecoder("utf-8")()
    return tuple(decoder.decode(bytes([byte])) for byte in ids.tolist())

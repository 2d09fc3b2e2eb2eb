"""ONNX, written from the weights, and from what TensorFlow makes of the step of a cell.

tf2onnx 1.17 also converts `model.step`. It is not used, because it depends on private parts of TensorFlow, and its
releases did not run with NumPy 2 for more than a year (onnx/tensorflow-onnx, issue 2373).
"""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.artefact.edge_files import checked_target, named_states, publish
from tfcharlm.artefact.known_cells import known_cells
from tfcharlm.artefact.onnx_operations import convert
from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.checks import short_repr
from tfcharlm.layers import TOKENS, RecurrentCell

# Every onnxruntime since 1.12 (2022) reads them. Nothing that came later is of use to a step.
OPSET, IR_VERSION = 17, 8


def export_onnx(model: ExportableModel, filepath: Path | str, dtype: str = "float32") -> Path:
    """Writes one step of a model as an ONNX file, and beside it `<filepath>.json`.

    Names, shapes and the JSON file are those of `tfcharlm.export_litert`; the batch dimension is open. The operators
    are from the standard domain, operator set 17. The arithmetic is float32, whatever the dtype of the model.

    Args:
        model: a `CharLM` whose cells are `RNNCell`, `LSTMCell`, `GRUCell`, another `RecurrentCell`, or Keras's
            `SimpleRNNCell`, `LSTMCell`, `GRUCell` or `StackedRNNCells`. What a step computes must have a form in ONNX:
            arithmetic, matrix products, common activations, sums and means.
        filepath: the file to make, ending in `.onnx`.
        dtype: of the weight matrices: "float32" (default), or "int8", a quarter of the size, by onnxruntime's dynamic
            quantization.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: the file or its JSON file exists already; nothing is overwritten.
        ImportError: the package `onnx`, or for int8 `onnxruntime`, is not installed.
        ValueError: `filepath` has another ending, the dtype is unknown, a cell does not start with zeros, or there is
            another cell or activation.

    Example, with the package `onnxruntime`:

    >>> import tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> path = tfcharlm.export_onnx(model, tempfile.mkdtemp() + "/abc.onnx")
    >>> session = onnxruntime.InferenceSession(str(path))
    >>> zeros = np.zeros((2, 5), np.float32)
    >>> inputs = {"tokens": np.array([[2], [0]], np.int32), "state_0": zeros, "state_1": zeros}
    >>> logits, h, c = session.run(["logits", "next_state_0", "next_state_1"], inputs)
    >>> logits.shape, c.shape
    ((2, 1, 4), (2, 5))

    Reference: onnx.ai/onnx/operators.
    """
    target = checked_target(filepath, ".onnx")
    if dtype not in ("float32", "int8"):
        raise ValueError(f"dtype must be one of float32, int8; received {short_repr(dtype)}.")
    states = named_states(model)
    content = _written(model, states)
    return publish(target, _quantized(content) if dtype == "int8" else content, model, states)


def _quantized(content: bytes) -> bytes:
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise ImportError('an int8 file needs the package onnxruntime; type pip install "tfcharlm[edge]"') from error
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(content)
        quantization.quantize_dynamic(source, target, per_channel=True, weight_type=quantization.QuantType.QInt8)
        return target.read_bytes()


def _written(model: ExportableModel, states: list[dict[str, Any]]) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise ImportError('an ONNX file needs the package onnx; type pip install "tfcharlm[edge]"') from error
    graph = _Graph(onnx)
    inputs = iter([state["input"] for state in states])
    final_states: list[str] = []
    outputs: list[str] = []
    token = graph("Gather", model.embedding.embeddings, graph("Squeeze", "tokens", np.array([1])))

    def joined(sources):
        read = [token if source == TOKENS else outputs[source] for source in sources]
        return read[0] if len(read) == 1 else graph("Concat", *read, axis=1)

    for i, layer in enumerate(model.recurrent):
        x = joined(model.wiring.layer_reads(i))
        for cell in known_cells(layer.cells):
            old_states = [next(inputs) for _ in keras.tree.flatten(cell.state_size)]
            next_states = _add_step(graph, cell, x, old_states)
            final_states += next_states
            x = next_states[0]
        outputs.append(x)
    x = joined(sum(model.wiring.head_reads(), ()))
    if model.wiring.members > 1:
        x = graph("Div", x, np.float32(model.wiring.members))
    logits = graph("Add", graph("MatMul", x, model.head.kernel), model.head.bias)
    graph.name("logits", graph("Unsqueeze", logits, np.array([1])))
    for state, value in zip(states, final_states, strict=True):
        graph.name(state["output"], value)
    return graph.serialized(
        {"tokens": [None, 1], **{state["input"]: state["shape"] for state in states}},
        {"logits": [None, 1, len(model.vocabulary)], **{state["output"]: state["shape"] for state in states}},
    )


def _add_step(graph: "_Graph", cell: RecurrentCell, x: str, states: list[str]) -> list[str]:
    """Adds one step of a cell; returns the names of the next states, of which the first one is the output."""
    # Constants of the function: a step of a cell is small, and ONNX has no variables.
    weights = tf.nest.map_structure(lambda w: w if w is None else np.asarray(w, np.float32), cell.weight_tensors())
    specs = [tf.TensorSpec((None, size), tf.float32) for size in (cell.kernel.shape[0], *cell.state_sizes)]
    step = tf.function(lambda x, *old: cell.next_states(weights, x, old), autograph=False)
    return convert(step.get_concrete_function(*specs), [x, *states], graph, f"{type(cell).__name__}.step")


class _Graph:
    """A list of operations. A call adds an operation on names and arrays, and returns the name of its result."""

    def __init__(self, onnx: ModuleType) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def __call__(self, operation: str, *operands: Any, parts: int = 1, **attributes: Any) -> Any:
        names = [operand if isinstance(operand, str) else self._constant(operand) for operand in operands]
        results = [f"{operation}_{len(self._nodes)}_{part}" for part in range(parts)]
        self._nodes.append(self._onnx.helper.make_node(operation, names, results, **attributes))
        return results[0] if parts == 1 else results

    def name(self, name: str, value: str) -> None:
        """Gives a result a name of the user's choice, which an output of the model needs."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))

    def _constant(self, value):
        array = np.asarray(value)
        if array.dtype != np.int64:
            array = array.astype(np.float32)
        self._constants.append(self._onnx.numpy_helper.from_array(array, f"constant_{len(self._constants)}"))
        return self._constants[-1].name

    def serialized(self, inputs: Mapping[str, list], outputs: Mapping[str, list]) -> bytes:
        """The bytes of an ONNX file with these inputs and outputs, `{name: shape}`."""
        helper, types = self._onnx.helper, self._onnx.TensorProto

        def described(shapes):
            for name, shape in shapes.items():
                kind = types.INT32 if name == "tokens" else types.FLOAT
                yield helper.make_tensor_value_info(name, kind, ["batch" if n is None else n for n in shape])

        graph = helper.make_graph(
            self._nodes, "step", list(described(inputs)), list(described(outputs)), self._constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tfcharlm",
            producer_version=version("tfcharlm"),
        )
        self._onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString()

"""TensorFlow's operations as those of ONNX: as many as a step of a recurrent cell may have."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# `graph(operation, *operands, parts=1, **attributes)` adds an operation, and returns the name of its result.
Graph = Callable[..., Any]

UNCHANGED = ("Identity", "IdentityN", "StopGradient")
SAME = {
    "Abs": "Abs", "AddN": "Sum", "BiasAdd": "Add", "LogSoftmax": "LogSoftmax", "Reciprocal": "Reciprocal",
    "Softmax": "Softmax", "Add": "Add", "AddV2": "Add", "Div": "Div", "Elu": "Elu", "Erf": "Erf", "Exp": "Exp",
    "Log": "Log", "Maximum": "Max", "Minimum": "Min", "Mul": "Mul", "Neg": "Neg", "Pow": "Pow",
    "RealDiv": "Div", "Relu": "Relu", "Selu": "Selu", "Sigmoid": "Sigmoid", "Sign": "Sign", "Softplus": "Softplus",
    "Softsign": "Softsign", "Sqrt": "Sqrt", "Sub": "Sub", "Tanh": "Tanh",
}  # fmt: skip


def convert(
    function: tf.types.experimental.ConcreteFunction, arguments: list[str], graph: Graph, what: str
) -> list[str]:
    """Adds the operations of a function to an ONNX graph.

    Args:
        function: of float32 tensors, without variables.
        arguments: the names of its arguments in the graph.
        graph: adds an operation.
        what: what the function is, for errors.

    Returns:
        The names of its results.

    Raises:
        ValueError: it has an operation that is not known here.
    """
    given = [*arguments, *(np.asarray(tensor) for tensor in function.captured_inputs)]
    operands = dict(zip([tensor.name for tensor in function.inputs], given, strict=True))
    for operation in function.graph.get_operations():
        if operation.type in ("Placeholder", "NoOp"):
            continue
        if operation.type == "Const":
            operands[operation.outputs[0].name] = tf.make_ndarray(operation.get_attr("value"))
            continue
        given = [operands[tensor.name] for tensor in operation.inputs]
        if operation.type in UNCHANGED:
            results = given
        elif operation.type in SAME:
            results = graph(SAME[operation.type], *given)
        elif operation.type in _OTHERS:
            results = _OTHERS[operation.type](graph, given, operation)
        else:
            known = ", ".join(sorted({*UNCHANGED, *SAME, *_OTHERS}))
            raise ValueError(f"{what} has the operation {operation.type}, which has no form in ONNX here. Use {known}.")
        results = results if isinstance(results, list) else [results]
        operands |= {tensor.name: result for tensor, result in zip(operation.outputs, results, strict=True)}
    return [operands[tensor.name] for tensor in function.outputs]


def _matmul(graph, given, operation):
    turned = [
        graph("Transpose", operand, perm=[1, 0]) if operation.get_attr(f"transpose_{side}") else operand
        for operand, side in zip(given, "ab", strict=True)
    ]
    return graph("MatMul", *turned)


def _split(graph, given, operation):
    axis, value = given
    parts = operation.get_attr("num_split")
    return graph("Split", value, parts=parts, axis=int(axis))


def _split_sizes(graph, given, operation):
    value, sizes, axis = given
    return graph("Split", value, np.asarray(sizes, np.int64), parts=len(sizes), axis=int(axis))


def _reduced(name):
    def add(graph, given, operation):
        value, axes = given
        keep = int(operation.get_attr("keep_dims"))
        axes = np.atleast_1d(axes).astype(np.int64)
        if name == "ReduceSum":
            return graph(name, value, axes, keepdims=keep)
        return graph(name, value, axes=axes.tolist(), keepdims=keep)

    return add


def _clip(graph, given, operation):
    return graph("Min", graph("Max", given[0], np.float32(0)), np.float32(6))


def _squared_difference(graph, given, operation):
    difference = graph("Sub", *given)
    return graph("Mul", difference, difference)


def _reshape(graph, given, operation):
    return graph("Reshape", given[0], np.asarray(given[1], np.int64))


def _expand(graph, given, operation):
    return graph("Unsqueeze", given[0], np.atleast_1d(given[1]).astype(np.int64))


def _cast(graph, given, operation):
    if operation.get_attr("DstT") != operation.get_attr("SrcT"):
        raise ValueError(f"{operation.name} changes the dtype; a step for ONNX computes in float32 only.")
    return given[0]


_OTHERS: Mapping[str, Callable] = {
    "Cast": _cast,
    "Erfc": lambda graph, given, operation: graph("Sub", np.float32(1), graph("Erf", *given)),
    "ConcatV2": lambda graph, given, operation: graph("Concat", *given[:-1], axis=int(given[-1])),
    "ExpandDims": _expand,
    "Expm1": lambda graph, given, operation: graph("Sub", graph("Exp", *given), np.float32(1)),
    "LeakyRelu": lambda graph, given, operation: graph("LeakyRelu", *given, alpha=operation.get_attr("alpha")),
    "MatMul": _matmul,
    "Max": _reduced("ReduceMax"),
    "Mean": _reduced("ReduceMean"),
    "Relu6": _clip,
    "Reshape": _reshape,
    "Rsqrt": lambda graph, given, operation: graph("Reciprocal", graph("Sqrt", *given)),
    "Split": _split,
    "SplitV": _split_sizes,
    "Square": lambda graph, given, operation: graph("Mul", given[0], given[0]),
    "SquaredDifference": _squared_difference,
    "Sum": _reduced("ReduceSum"),
    "ZerosLike": lambda graph, given, operation: graph("Mul", given[0], np.float32(0)),
    "OnesLike": lambda graph, given, operation: graph("Exp", graph("Mul", given[0], np.float32(0))),
    "Transpose": lambda graph, given, operation: graph("Transpose", given[0], perm=[int(n) for n in given[1]]),
}

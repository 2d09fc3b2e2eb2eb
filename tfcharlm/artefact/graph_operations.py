"""The operations that an export needs, and all others in a graph.

Unreachable nodes count as well: every node of every graph and of every function in the library is looked at. So no way
of naming a function can hide one, be it a call, a branch, an attribute within an attribute, a collection, the init
operation, the object graph or a gradient.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

# What the exports of this package need, and nothing else, sorted. If an export needs another operation, find out what
# that can do, and add it. `python -m pytest tests/artefact -m slow -k list_of_operations` prints what is missing and
# what is not needed any more.
ALLOWED = frozenset({
    "Abs", "AddV2", "All", "ArgMax", "Assert", "AssignVariableOp", "BiasAdd", "BitwiseAnd", "BitwiseOr",
    "BitwiseXor", "BroadcastTo", "Cast", "ConcatV2", "Const", "Cumsum", "DecodePaddedRaw", "DenseBincount",
    "DisableCopyOnRead", "Elu", "EnsureShape", "Equal", "Erfc", "Exp", "ExpandDims", "Expm1", "Fill", "FloorDiv",
    "FloorMod", "GatherV2", "Greater", "GreaterEqual", "HashTableV2", "Identity", "IdentityN", "If", "IsFinite",
    "LeakyRelu", "LeftShift", "Less", "LessEqual", "Log", "LogSoftmax", "LogicalAnd", "LogicalNot", "LogicalOr",
    "LookupTableFindV2", "LookupTableImportV2", "MatMul", "MatrixDiagV3", "Max", "Maximum", "Min", "Minimum", "Mul",
    "Neg", "NoOp", "NotEqual", "OnesLike", "Pack", "Pad", "PartitionedCall", "Placeholder", "Pow", "Prod",
    "RaggedGather", "RaggedTensorToTensor", "Range", "ReadVariableOp", "RealDiv", "ReduceJoin", "Relu", "Relu6",
    "Reshape", "RightShift", "Select", "SelectV2", "Selu", "Shape", "Sigmoid", "Size", "Softmax", "Softplus",
    "Softsign", "SparseSoftmaxCrossEntropyWithLogits", "Split", "SplitV", "Sqrt", "Square", "Squeeze",
    "StatefulPartitionedCall", "StatelessIf", "StatelessRandomGetKeyCounter", "StatelessRandomUniformV2",
    "StatelessWhile", "StaticRegexFullMatch", "StaticRegexReplace", "StridedSlice", "StringJoin", "StringLength",
    "StringSplit", "StringSplitV2", "Sub", "Sum", "Tanh", "TensorListConcatV2", "TensorListFromTensor",
    "TensorListGetItem", "TensorListReserve", "TensorListSetItem", "TensorListStack", "Tile", "TopKV2", "Transpose",
    "UnicodeDecode", "UnicodeEncode", "UnicodeTranscode", "UnsortedSegmentSum", "VarHandleOp", "Where", "While",
    "ZerosLike",
})  # fmt: skip

# What a cell of a user may compute besides: arithmetic, which reads and writes its own tensors only.
ARITHMETIC = frozenset({
    "AddN", "Asinh", "Atan", "Atanh", "BatchMatMulV2", "Ceil", "Cos", "Cosh", "DivNoNan", "Einsum", "Erf", "Floor",
    "Log1p", "Mean", "MulNoNan", "Reciprocal", "ReverseV2", "Roll", "Round", "Rsqrt", "Sign", "Sin", "Sinh", "Slice",
    "SquaredDifference", "Tan", "Unpack",
})  # fmt: skip

# Only the part of the graph that saves and restores checkpoints touches files.
SAVING, RESTORING = frozenset({"MergeV2Checkpoints", "SaveV2", "ShardedFilename"}), frozenset({"RestoreV2"})
# What TensorFlow adds to the caller's path while it saves: in a remote file system, and in a local one.
ENDINGS = {b".part", b"_temp/part"}


class DisallowedOperation(NamedTuple):
    """An operation that no export of this package needs.

    Args:
        operation: the type of the node, such as "WriteFile".
        name: the name of the node.
        where: the graph or function that it is in.
    """

    operation: str
    name: str
    where: str


def disallowed_operations(saved_model: SavedModel) -> list[DisallowedOperation]:
    """Finds the operations that do not belong in an export, in all graphs and functions of a SavedModel.

    An operation in `ALLOWED` or `ARITHMETIC` may be anywhere. The operations in `SAVING` may be in the function that
    the saver calls to save, and `RestoreV2` in the function that it calls to restore, under two conditions. Their path
    is the one that the caller gives, to which saving may add TensorFlow's own endings. And nothing else, such as a
    signature, calls these functions or uses what they return. A reference to a function that is not in the library is
    disallowed, too: it would mean an operation, or nothing.

    Args:
        saved_model: the message in `saved_model.pb`.

    Returns:
        The disallowed operations; an empty list for an export of this package.
    """
    return [disallowed for meta in saved_model.meta_graphs for disallowed in _disallowed_in(meta)]


def _disallowed_in(meta: MetaGraphDef) -> Iterator[DisallowedOperation]:
    library = meta.graph_def.library
    known = {function.signature.name for function in library.function}
    saver = _saver_functions(meta)
    yield from _disallowed_nodes(meta.graph_def.node, "the main graph", known)
    for function in library.function:
        name, special = function.signature.name, saver.get(function.signature.name, frozenset())
        paths = _Paths(function)
        nodes = [node for node in function.node_def if node.op not in special or not paths.are_the_callers(node)]
        yield from _disallowed_nodes(nodes, f"function {name}", known)
        yield from (
            DisallowedOperation(missing, "an attribute", f"function {name}")
            for missing in sorted(set(_named_functions(function.attr)) - known)
        )
    gradients = {gradient.gradient_func for gradient in [*library.gradient, *library.registered_gradients]}
    yield from (DisallowedOperation(missing, "a gradient", "the library") for missing in sorted(gradients - known))


def _disallowed_nodes(nodes: Iterable, where: str, known: set[str]) -> Iterator[DisallowedOperation]:
    for node in nodes:
        if node.op not in ALLOWED | ARITHMETIC:
            yield DisallowedOperation(node.op, node.name, where)
        for missing in sorted(set(_named_functions(node.attr)) - known):
            yield DisallowedOperation(missing, node.name, where)


class _Paths:
    """Which files a function reads or writes: those that its first argument names, or others."""

    def __init__(self, function):
        self._given = [argument.name for argument in function.signature.input_arg[:1]]
        count = Counter(node.name for node in function.node_def)
        # If two nodes have the same name, nobody can say which of them is meant.
        self._nodes = {node.name: node for node in function.node_def if count[node.name] == 1}

    def are_the_callers(self, node):
        """Whether a node of `SAVING` or `RESTORING` has the caller's path, exactly as TensorFlow writes it."""
        if node.op == "RestoreV2":
            return node.input[:1] == self._given
        if node.op == "ShardedFilename":
            return self._is_with_ending(node.input[0]) if node.input else False
        if node.op == "SaveV2":
            return bool(node.input) and self._is_shard(node.input[0])
        shards = self._inputs(node.input[0], "Pack") if node.input else []
        return bool(shards) and all(map(self._is_shard, shards)) and node.input[1:2] == self._given

    def _is_shard(self, tensor):
        inputs = self._inputs(tensor, "ShardedFilename")
        return bool(inputs) and self._is_with_ending(inputs[0])

    def _is_with_ending(self, tensor):
        inputs = self._inputs(tensor, "StringJoin")
        if inputs[:1] != self._given or len(inputs) != 2 or _attribute(self._node(tensor), "separator").s:
            return False
        endings = self._inputs(inputs[1], "Select")[1:]
        return len(endings) == 2 and all(map(self._is_ending, endings))

    def _is_ending(self, tensor):
        node = self._node(tensor)
        values = _attribute(node, "value").tensor if node is not None and node.op == "Const" else None
        return values is not None and len(values.string_val) == 1 and values.string_val[0] in ENDINGS

    def _inputs(self, tensor, operation):
        """The data inputs of the node that makes a tensor; none if it is another operation."""
        node = self._node(tensor)
        if node is None or node.op != operation:
            return []
        return [name for name in node.input if not name.startswith("^")]

    def _node(self, tensor):
        return self._nodes.get(tensor.partition(":")[0])


def _saver_functions(meta: MetaGraphDef) -> dict[str, frozenset[str]]:
    """`{name: operations it may have}` of the functions that save and restore, if only the saver calls them."""
    found = {}
    saver = meta.saver_def
    used = _used_nodes(meta)
    for output, operations in ((saver.save_tensor_name, SAVING), (saver.restore_op_name, RESTORING)):
        name = output.partition(":")[0]
        calls = [node for node in meta.graph_def.node if node.name == name]
        path = saver.filename_tensor_name.removesuffix(":0")
        if len(calls) == 1 and calls[0].input[:1] == [path] and name not in used:
            found[_attribute(calls[0], "f").func.name] = operations
    references = Counter(_all_references(meta))
    return {name: operations for name, operations in found.items() if references[name] == 1}


def _used_nodes(meta: MetaGraphDef) -> set[str]:
    """The names of all nodes whose result something uses: another node, a signature, a collection."""
    tensors = [name for node in meta.graph_def.node for name in node.input]
    for signature in meta.signature_def.values():
        for info in [*signature.inputs.values(), *signature.outputs.values()]:
            parts = info.composite_tensor.components if info.HasField("composite_tensor") else [info]
            tensors += [part.name for part in parts]
            sparse = info.coo_sparse
            tensors += [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    for collection in meta.collection_def.values():
        tensors += collection.node_list.value
    return {tensor.removeprefix("^").partition(":")[0] for tensor in tensors}


def _all_references(meta: MetaGraphDef) -> Iterator[str]:
    """The names of functions, one for each mention by a node, a function, the object graph or a gradient."""
    graph, library = meta.graph_def, meta.graph_def.library
    for nodes in [graph.node, *(function.node_def for function in library.function)]:
        for node in nodes:
            yield node.op
            yield from _named_functions(node.attr)
    for function in library.function:
        yield from _named_functions(function.attr)
    yield from (g.gradient_func for g in [*library.gradient, *library.registered_gradients])
    yield from meta.object_graph_def.concrete_functions
    for node in meta.object_graph_def.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _attribute(node, name):
    """An attribute of a node. Looking up a missing one would add it to the message."""
    return node.attr[name] if name in node.attr else AttrValue()


def _named_functions(attributes: Mapping) -> Iterator[str]:
    """The names of all functions in attributes, including those in attributes of functions."""
    for value in attributes.values():
        for function in [value.func] if value.HasField("func") else value.list.func:
            yield function.name
            yield from _named_functions(function.attr)

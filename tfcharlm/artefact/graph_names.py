"""The names in a graph, replaced by positions: two exports of the same model then have equal graphs.

TensorFlow numbers functions, tables and gradients as a process makes them, so an export has other names every time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_object_graph_pb2 import SavedObjectGraph

from tfcharlm.artefact.object_graph import checkpoint_objects

# A label that nothing refers to.
LABEL = "_user_specified_name"
# The name under which Python registered a gradient. An export has none of them.
GRADIENT, NUMBERED_GRADIENT = "_gradient_op_type", re.compile(rb"(CustomGradient|PartitionedCall)-\d{1,9}")
# The settings of the process that made the graph, and those of them that depend on its machine.
SETTINGS = "config_proto"
MACHINE = ("device_count", "intra_op_parallelism_threads", "inter_op_parallelism_threads")
# The settings of a machine; larger ones are not those of one.
MAX_SETTING = 4096
# TensorFlow ends the names of functions with a number, and of operations without one. It would take a function with the
# name of an operation for the operation.
FUNCTION = re.compile(r"\w+_\d{1,9}", re.ASCII)
# Stands for the constant with the names of the variables.
OBJECTS = b"the objects in a checkpoint"
# Exports call functions less than ten deep.
MAX_DEPTH = 50


def rename_by_position(meta: MetaGraphDef) -> dict[str, str]:
    """Replaces the names of nodes, functions, variables and tables by positions.

    Functions are numbered as they are reached, from the nodes of the main graph first and then from its objects. All
    other content of the graph stays as it is.

    Args:
        meta: the graph, which is changed.

    Returns:
        `{new name: old name}` of the functions.

    Raises:
        ValueError: a name occurs twice, a function has a name that TensorFlow gives to none, or other results than its
            signature, or functions call each other in a circle or more than 50 deep.
    """
    library = meta.graph_def.library
    functions = _numbered_functions(meta)
    _mark_objects(meta)
    resources = _Numbered("variable"), _Numbered("table")
    for node in meta.object_graph_def.nodes:
        if node.HasField("variable"):
            node.variable.name = resources[0][node.variable.name]
    nodes = _rename_nodes(meta.graph_def.node, (), functions, resources)
    for function in library.function:
        _rename_in_function(function, functions, resources)
    library.function.sort(key=lambda function: function.signature.name)
    _rename_in_objects(meta, functions, nodes)
    _rename_tensors(meta, nodes)
    return {new: old for old, new in functions.items()}


def _mark_objects(meta):
    """Replaces the constant that the saver writes into checkpoints, which has the names of the variables in it."""
    objects = checkpoint_objects(meta.object_graph_def).SerializeToString(deterministic=True)
    for node in meta.graph_def.node:
        if "value" not in node.attr:
            continue
        text = node.attr["value"].tensor.string_val
        if OBJECTS in text[:]:
            raise ValueError(f"its node {node.name!r:.80} has the objects of no checkpoint")
        if node.op == "Const" and text[:] == [objects]:
            text[:] = [OBJECTS]


class _Numbered(dict):
    """Names by the order in which they are first asked for."""

    def __init__(self, kind):
        super().__init__()
        self._kind = kind

    def __missing__(self, name):
        self[name] = f"{self._kind}{len(self)}"
        return self[name]


def _numbered_functions(meta):
    library = {function.signature.name: function for function in meta.graph_def.library.function}
    if len(library) < len(meta.graph_def.library.function):
        raise ValueError("two of its functions have the same name")
    for name in library:
        if not FUNCTION.fullmatch(name):
            raise ValueError(f"TensorFlow gives no function the name {name!r:.80}")
    numbered: dict[str, str] = {}
    open_functions: set[str] = set()

    def visit(name):
        if name in open_functions or len(open_functions) > MAX_DEPTH:
            raise ValueError(f"its functions call each other in a circle, or more than {MAX_DEPTH} deep")
        if name in numbered or name not in library:
            return
        numbered[name] = f"function{len(numbered)}"
        open_functions.add(name)
        for attributes in [*(node.attr for node in library[name].node_def), library[name].attr]:
            visit_all(attributes)
        open_functions.remove(name)

    def visit_all(attributes):
        for function in _functions_in(attributes):
            visit(function.name)

    for node in meta.graph_def.node:
        visit_all(node.attr)
    for node in meta.object_graph_def.nodes:
        visit(node.bare_concrete_function.concrete_function_name)
        for name in node.function.concrete_functions:
            visit(name)
    # What nothing calls is not equal to anything.
    return {name: f"unused {name}" for name in library} | numbered


def _functions_in(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """The references to functions in attributes, including those in attributes of functions, in a fixed order."""
    for _, value in sorted(attributes.items()):
        for function in [value.func] if value.HasField("func") else value.list.func:
            yield function
            yield from _functions_in(function.attr)


def _rename_attributes(attributes, functions):
    for function in _functions_in(attributes):
        function.name = functions.get(function.name, f"unknown {function.name}")
    attributes.pop(LABEL, None)
    if GRADIENT in attributes:
        numbered = NUMBERED_GRADIENT.fullmatch(attributes[GRADIENT].s)
        attributes[GRADIENT].s = b"numbered" if numbered else b"unknown " + attributes[GRADIENT].s
    if attributes.get(SETTINGS) is not None:
        attributes[SETTINGS].s = _without_machine(attributes[SETTINGS].s)


def _without_machine(settings):
    try:
        config = ConfigProto.FromString(settings)
    except DecodeError:
        return settings
    threads = config.intra_op_parallelism_threads, config.inter_op_parallelism_threads
    if not all(0 <= number <= MAX_SETTING for number in (*threads, *config.device_count.values())):
        return settings
    for field in MACHINE:
        config.ClearField(field)
    return config.SerializeToString(deterministic=True)


def _rename_nodes(
    nodes: Sequence[Any], arguments: Sequence[str], functions: Mapping[str, str], resources: Sequence[Mapping]
) -> dict[str, str]:
    """Renames nodes and their inputs; `{old name: new name}` of the arguments and nodes."""
    names = {argument: f"argument{i}" for i, argument in enumerate(arguments)}
    names |= {node.name: f"node{i}" for i, node in enumerate(nodes)}
    if len(names) < len(arguments) + len(nodes):
        raise ValueError("two of its nodes have the same name")
    for node in nodes:
        node.name = names[node.name]
        node.input[:] = [_renamed(tensor, names) for tensor in node.input]
        _rename_attributes(node.attr, functions)
        for operation, named in zip(("VarHandleOp", "HashTableV2"), resources, strict=True):
            if node.op == operation:
                for label in ("shared_name", "debug_name"):
                    if label in node.attr:
                        name = node.attr[label].s.decode("utf-8", "surrogateescape")
                        if label == "debug_name":  # of a variable: its name and a slash
                            name = name.removesuffix("/")
                        node.attr[label].s = named[name].encode()
    return names


def _renamed(tensor: str, names: Mapping[str, str]) -> str:
    control = "^" if tensor.startswith("^") else ""
    node, colon, output = tensor.removeprefix("^").partition(":")
    return control + names.get(node, f"unknown {node}" if node else "") + colon + output


def _rename_in_function(function: FunctionDef, functions: Mapping[str, str], resources: Sequence[Mapping]) -> None:
    signature = function.signature
    if len({argument.name for argument in signature.input_arg}) < len(signature.input_arg):
        raise ValueError(f"two arguments of its function {signature.name!r:.80} have the same name")
    names = _rename_nodes(function.node_def, [argument.name for argument in signature.input_arg], functions, resources)
    signature.name = functions.get(signature.name, signature.name)
    for argument in signature.input_arg:
        argument.name = names[argument.name]
    for attributes in [function.attr, *(value.attr for value in function.arg_attr.values())]:
        _rename_attributes(attributes, functions)
    returned = {name: _renamed(tensor, names) for name, tensor in function.ret.items()}
    _check_results(signature.name, [result.name for result in signature.output_arg], returned)
    function.ret.clear()
    for i, result in enumerate(signature.output_arg):
        function.ret[f"output{i}"] = returned[result.name]
        result.name = f"output{i}"
    controls = {name: _renamed(node, names) for name, node in function.control_ret.items()}
    _check_results(signature.name, list(signature.control_output), controls)
    function.control_ret.clear()
    function.control_ret.update({node: node for node in controls.values()})
    signature.control_output[:] = [controls[name] for name in signature.control_output]


def _check_results(function, declared, given):
    """Each result has one name, and nothing else is a result: TensorFlow would take no notice of it."""
    if len(set(declared)) < len(declared) or set(declared) != given.keys():
        raise ValueError(f"the results of its function {function!r:.80} are not those of its signature")


def _rename_in_objects(meta: MetaGraphDef, functions: Mapping[str, str], nodes: Mapping[str, str]) -> None:
    objects = meta.object_graph_def

    def renamed(name):
        return functions.get(name, f"unknown {name}")

    for node in objects.nodes:
        if node.HasField("constant"):
            node.constant.operation = nodes.get(node.constant.operation, f"unknown {node.constant.operation}")
        if node.HasField("bare_concrete_function"):
            named = node.bare_concrete_function
            named.concrete_function_name = renamed(named.concrete_function_name)
        names = [renamed(name) for name in node.function.concrete_functions]
        if names:
            node.function.concrete_functions[:] = names
    copy = SavedObjectGraph()
    copy.CopyFrom(objects)
    objects.concrete_functions.clear()
    for name, function in copy.concrete_functions.items():
        objects.concrete_functions[renamed(name)].CopyFrom(function)


def _rename_tensors(meta: MetaGraphDef, nodes: Mapping[str, str]) -> None:
    for signature in meta.signature_def.values():
        for info in [*signature.inputs.values(), *signature.outputs.values()]:
            info.name = _renamed(info.name, nodes)
    saver = meta.saver_def
    for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
        setattr(saver, field, _renamed(getattr(saver, field), nodes))
    for collection in meta.collection_def.values():
        if collection.HasField("node_list"):
            collection.node_list.value[:] = [_renamed(name, nodes) for name in collection.node_list.value]

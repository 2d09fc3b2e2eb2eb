"""Random changes of a graph, each of which makes it another one, and changes of its names, which do not."""

import re

from google.protobuf import text_format


def renamed(graph):
    """The same graph, with other names for all functions, and for all nodes and arguments in them."""
    text = str(graph)
    names = [function.signature.name for function in graph.meta_graphs[0].graph_def.library.function]
    for i, name in enumerate(names):
        text = text.replace(f'"{name}"', f'"another_{len(names) - i}"')
    graph = text_format.Parse(text, type(graph)())
    for function in graph.meta_graphs[0].graph_def.library.function:
        own = [*function.signature.input_arg, *function.node_def]
        new = {named.name: f"x{i}" for i, named in enumerate(own)}
        for named in own:
            named.name = new[named.name]
        for node in function.node_def:
            node.input[:] = [with_names(tensor, new) for tensor in node.input]
        for results in (function.ret, function.control_ret):
            for name, tensor in list(results.items()):
                results[name] = with_names(tensor, new)
    return graph


def with_names(tensor, new):
    return re.sub(r"^(\^?)([^:]+)", lambda m: m[1] + new[m[2]], tensor)


def mutate(graph, rng):
    """Changes one thing in a graph; returns what was changed, or None if this graph has no such thing there."""
    meta = graph.meta_graphs[0]
    functions = meta.graph_def.library.function
    function = functions[int(rng.integers(len(functions)))]
    nodes = function.node_def or meta.graph_def.node
    node = nodes[int(rng.integers(len(nodes)))]
    change = CHANGES[int(rng.integers(len(CHANGES)))]
    return change.__name__ if change(meta, function, node, rng) else None


def another_input(meta, function, node, rng):
    if not node.input:
        return False
    names = [f"{other.name}:output:0" for other in function.node_def] + [a.name for a in function.signature.input_arg]
    node.input[int(rng.integers(len(node.input)))] = names[int(rng.integers(len(names)))]
    return True


def swapped_inputs(meta, function, node, rng):
    if len(set(node.input)) < 2:
        return False
    first, second = node.input[0], node.input[1]
    node.input[0], node.input[1] = second, first
    return first != second


def one_input_less(meta, function, node, rng):
    return bool(node.input) and node.input.pop() is not None


def another_constant(meta, function, node, rng):
    for node in function.node_def:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        for field in ("int_val", "float_val", "string_val", "bool_val") if tensor else ():
            values = getattr(tensor, field)
            if values and rng.random() < 0.3:
                values[0] = {"int_val": 7, "float_val": 0.25, "string_val": b"x", "bool_val": not values[0]}[field]
                return True
    return False


def another_operation(meta, function, node, rng):
    node.op = {"AddV2": "Sub", "Maximum": "Minimum", "Sigmoid": "Tanh", "Mul": "AddV2"}.get(node.op, "NoOp")
    return True


def another_function(meta, function, node, rng):
    for node in [*function.node_def, *meta.graph_def.node]:
        for attribute in sorted(node.attr):
            if node.attr[attribute].HasField("func") and rng.random() < 0.5:
                node.attr[attribute].func.name = function.signature.name
                return True
    return False


def another_attribute(meta, function, node, rng):
    places = [(node, name) for node in function.node_def for name in sorted(node.attr) if node.attr[name].HasField("b")]
    if not places:
        return False
    node, name = places[int(rng.integers(len(places)))]
    node.attr[name].b = not node.attr[name].b
    return True


def another_device(meta, function, node, rng):
    node.device = "/job:stranger/task:0"
    return True


def a_node_less(meta, function, node, rng):
    return bool(function.node_def) and function.node_def.pop() is not None


def a_node_more(meta, function, node, rng):
    function.node_def.add(name="more", op="NoOp")
    return True


def another_result(meta, function, node, rng):
    outputs = sorted(function.ret)
    if len(outputs) < 2:
        return False
    function.ret[outputs[0]], function.ret[outputs[1]] = function.ret[outputs[1]], function.ret[outputs[0]]
    return True


def another_signature(meta, function, node, rng):
    step = meta.signature_def["step"]
    step.inputs["state_0"].name, step.inputs["state_1"].name = step.inputs["state_1"].name, step.inputs["state_0"].name
    return True


def another_variable(meta, function, node, rng):
    children = meta.object_graph_def.nodes[2].children
    i, j = sorted(rng.choice(len(children), 2, replace=False))
    children[i].node_id, children[j].node_id = children[j].node_id, children[i].node_id
    return True


def another_capture(meta, function, node, rng):
    captured = meta.object_graph_def.concrete_functions
    name = sorted(name for name in captured if len(set(captured[name].bound_inputs)) > 1)[0]
    bound = captured[name].bound_inputs
    bound[0], bound[1] = bound[1], bound[0]
    return True


def another_table(meta, function, node, rng):
    meta.graph_def.node.add(name="table", op="HashTableV2")
    return True


def one_storage_for_two_variables(meta, function, node, rng):
    handles = [node for node in meta.graph_def.node if node.op == "VarHandleOp"]
    handles[0].attr["shared_name"].s = handles[1].attr["shared_name"].s
    return True


def another_start(meta, function, node, rng):
    meta.collection_def["saved_model_main_op"].node_list.value[0] = meta.graph_def.node[0].name
    return True


def another_gradient(meta, function, node, rng):
    meta.graph_def.library.gradient.add(function_name=function.signature.name, gradient_func=function.signature.name)
    return True


def another_frozen_variable(meta, function, node, rng):
    variables = [node for node in meta.object_graph_def.nodes if node.HasField("variable")]
    variables[int(rng.integers(len(variables)))].variable.trainable ^= True
    return True


CHANGES = [
    another_input, swapped_inputs, one_input_less, another_constant, another_operation, another_function,
    another_attribute, another_device, a_node_less, a_node_more, another_result, another_signature, another_variable,
    another_capture, another_table, one_storage_for_two_variables, another_start, another_gradient,
    another_frozen_variable,
]  # fmt: skip

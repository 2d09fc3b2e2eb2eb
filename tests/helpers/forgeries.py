"""Changes of a graph that use the names which the comparison gives, so that it may take them for its own."""

from google.protobuf import text_format


def other_results(meta):
    """Each function returns its first argument; what it returned is kept where TensorFlow does not look."""
    for function in meta.graph_def.library.function:
        signature = function.signature
        if signature.output_arg and signature.input_arg:
            name = signature.output_arg[0].name
            function.ret["output0"] = function.ret[name]
            function.ret[name] = signature.input_arg[0].name
            return


def two_results_of_one_name(meta):
    function = next(f for f in meta.graph_def.library.function if len(f.signature.output_arg) > 1)
    names = [result.name for result in function.signature.output_arg]
    function.ret["output1"] = function.ret.pop(names[1])
    function.signature.output_arg[1].name = names[0]


def other_controls(meta):
    function = next(f for f in meta.graph_def.library.function if f.control_ret)
    name = sorted(function.control_ret)[0]
    i = [node.name for node in function.node_def].index(function.control_ret[name])
    function.control_ret.pop(name)
    function.control_ret[f"node{i}"] = f"node{i}"


def a_function_named_like_an_operation(meta):
    initializer = next(f for f in meta.graph_def.library.function if "initializer" in f.signature.name)
    text = str(meta).replace(f'"{initializer.signature.name}"', '"LookupTableFindV2"')
    meta.CopyFrom(text_format.Parse(text, type(meta)()))


def positions_for_names(meta):
    """The captures of functions under the names that they would be given."""
    captured = meta.object_graph_def.concrete_functions
    for i, name in enumerate(sorted(captured)):
        captured[f"function{i}"].CopyFrom(captured.pop(name))


def a_constant_like_its_mark(meta):
    for node in meta.graph_def.node:
        text = node.attr["value"].tensor.string_val if node.op == "Const" else []
        if len(text) == 1 and len(text[0]) > 100:
            text[0] = b"the objects in a checkpoint"
            return
    raise AssertionError("there is no such constant")


def a_table_with_a_slash(meta):
    functions = meta.graph_def.library.function
    node = next(node for f in functions for node in f.node_def if node.op == "HashTableV2")
    node.attr["shared_name"].s += b"/"


def a_gradient_like_its_mark(meta):
    functions = meta.graph_def.library.function
    node = next(node for f in functions for node in f.node_def if "_gradient_op_type" in node.attr)
    node.attr["_gradient_op_type"].s = b"numbered"


FORGERIES = [
    other_results, two_results_of_one_name, other_controls, a_function_named_like_an_operation, positions_for_names,
    a_constant_like_its_mark, a_table_with_a_slash, a_gradient_like_its_mark,
]  # fmt: skip

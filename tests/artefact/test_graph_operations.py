"""Operations of a graph: a disallowed one is found wherever it hides."""

from pathlib import Path

import pytest
import tensorflow as tf
from helpers.exported_models import ALL_MODELS
from helpers.graphs import called_by, function_named, needed_operations
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact.graph_operations import ALLOWED, ARITHMETIC, RESTORING, SAVING, disallowed_operations


@pytest.mark.slow
def test_the_list_of_operations_is_what_exports_need(export_of):
    committed = Path(__file__).parents[2] / "saved_models"  # exports of version 0.1.0
    needed = set.union(*(needed_operations(export_of(name)) for name in ALL_MODELS))
    needed |= set.union(*(needed_operations(committed / name / "1") for name in ("names", "shakespeare")))
    print("not in the list:", sorted(needed - ALLOWED))
    print("not needed:", sorted(ALLOWED - needed))
    assert needed == ALLOWED


def hidden_places(graph):
    """Lists of nodes where an operation can hide: `{where an error says it is: nodes}`."""
    meta = graph.meta_graphs[0]
    library = meta.graph_def.library
    signature = called_by(graph, meta.signature_def["generate"].outputs["text"].name)
    places = {"the main graph": meta.graph_def.node, f"function {signature}": function_named(graph, signature).node_def}
    branch = library.function.add()
    branch.signature.name = "branch"
    middle = library.function.add()
    middle.signature.name = "middle"
    middle.node_def.add(name="if", op="If").attr["then_branch"].func.name = "branch"
    loop = function_named(graph, signature).node_def.add(name="while", op="While")
    loop.attr["body"].func.name = "middle"
    listed = library.function.add()
    listed.signature.name = "listed"
    called = function_named(graph, signature).node_def.add(name="call", op="StatefulPartitionedCall")
    called.attr["f"].func.name = "middle"
    called.attr["f"].func.attr["g"].list.func.add().name = "listed"
    unreachable = library.function.add()
    unreachable.signature.name = "unreachable"
    for function in (branch, listed, unreachable):
        places[f"function {function.signature.name}"] = function.node_def
    for output in (meta.saver_def.save_tensor_name, meta.saver_def.restore_op_name):
        name = called_by(graph, output)
        places[f"function {name}"] = function_named(graph, name).node_def
    second = graph.meta_graphs.add()
    places["the main graph of another"] = second.graph_def.node
    return places


def test_every_one_of_300_foreign_operations_is_found_in_every_place(graph, rng):
    # Those of the saver have a test of their own.
    known = ALLOWED | ARITHMETIC | SAVING | RESTORING
    names = sorted(name for name in dir(tf.raw_ops) if name[0].isupper() and name not in known)
    chosen = rng.permutation(names)[:300]
    assert {"ReadFile", "WriteFile", "PyFunc"} <= set(names) and len(chosen) == 300
    places = hidden_places(graph)
    assert disallowed_operations(graph) == []
    for number, nodes in enumerate(places.values()):
        for operation in chosen:
            nodes.add(name=f"node{number}", op=operation)
    found = disallowed_operations(graph)
    assert len(found) == len(set(found)) == 300 * len(places) == 2400
    assert set(found) == {
        (operation, f"node{number}", where.removesuffix(" of another"))
        for number, where in enumerate(places)
        for operation in chosen
    }


def test_files_are_for_the_saver_alone(proto):
    """Every way in which something else could have `SaveV2` or `RestoreV2` run is foreign."""
    meta = proto.meta_graphs[0]
    save, restore = meta.saver_def.save_tensor_name, meta.saver_def.restore_op_name
    saving, restoring = called_by(proto, save), called_by(proto, restore)

    def add(graph, **node):
        return graph.meta_graphs[0].graph_def.node.add(name="new", **node)

    ways = {
        "a signature": lambda g: g.meta_graphs[0].signature_def["x"].outputs["y"].__setattr__("name", save),
        "a part of an output": lambda g: (
            g.meta_graphs[0].signature_def["x"].outputs["y"].composite_tensor.components.add(name=save)),
        "the init operation": lambda g: add(g, op="NoOp", input=["^" + save.partition(":")[0]]),
        "a node": lambda g: add(g, op="Identity", input=[save]),
        "a collection": lambda g: g.meta_graphs[0].collection_def["saved_model_main_op"].node_list.value.append(
            save.partition(":")[0]),
        "another call": lambda g: add(g, op="StatefulPartitionedCall").attr["f"].func.__setattr__("name", saving),
        "the object graph": lambda g: g.meta_graphs[0].object_graph_def.concrete_functions[saving].SetInParent(),
        "a function object": lambda g: g.meta_graphs[0].object_graph_def.nodes.add().function.concrete_functions.append(
            saving),
        "a gradient": lambda g: g.meta_graphs[0].graph_def.library.gradient.add(
            function_name="f", gradient_func=saving),
    }  # fmt: skip
    for way, spoil in ways.items():
        graph = SavedModel.FromString(proto.SerializeToString())
        spoil(graph)
        found = {foreign.operation for foreign in disallowed_operations(graph)}
        assert found == {"MergeV2Checkpoints", "SaveV2", "ShardedFilename"}, way
    graph = SavedModel.FromString(proto.SerializeToString())
    next(n for n in function_named(graph, restoring).node_def if n.op == "RestoreV2").input[0] = "elsewhere:output:0"
    assert [foreign.operation for foreign in disallowed_operations(graph)] == ["RestoreV2"]
    elsewhere = {
        "SaveV2": lambda node: node.input.__setitem__(0, "num_shards:output:0"),
        "ShardedFilename": lambda node: node.input.__setitem__(0, "Const:output:0"),
        "MergeV2Checkpoints": lambda node: node.input.__setitem__(1, "Const:output:0"),
        "Pack": lambda node: node.input.__setitem__(0, "Const:output:0"),
        "Const": lambda node: node.attr["value"].tensor.string_val.__setitem__(0, b"/../../etc/passwd"),
        "Const, joined": lambda node: node.attr["value"].tensor.string_val.append(b"/../x"),
        "StringJoin": lambda node: node.input.__setitem__(0, "Const:output:0"),
        "StringJoin, more": lambda node: node.input.append("SaveV2/tensor_names:output:0"),
        "StringJoin, separator": lambda node: node.attr["separator"].__setattr__("s", b"/../x"),
        "Select": lambda node: node.input.__setitem__(1, "SaveV2/tensor_names:output:0"),
    }
    for way, spoil in elsewhere.items():
        graph = SavedModel.FromString(proto.SerializeToString())
        spoil(next(n for n in function_named(graph, saving).node_def if n.op == way.partition(",")[0]))
        assert disallowed_operations(graph), way
    graph = SavedModel.FromString(proto.SerializeToString())
    nodes = function_named(graph, saving).node_def
    nodes.add(name="ShardedFilename", op="Identity", input=["Const:output:0"])
    assert {foreign.operation for foreign in disallowed_operations(graph)} >= {"SaveV2", "MergeV2Checkpoints"}
    for function in (saving, restoring):
        graph = SavedModel.FromString(proto.SerializeToString())
        function_named(graph, function).node_def.add(name="n", op="SaveV2" if function == restoring else "RestoreV2")
        assert len(disallowed_operations(graph)) == 1


def test_a_function_that_is_not_there_is_foreign(graph):
    """The runtime could take the name for that of an operation."""
    call = graph.meta_graphs[0].graph_def.node.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = "WriteFile"
    call.attr["f"].func.attr["g"].list.func.add().name = "RemoteCall"
    graph.meta_graphs[0].graph_def.library.gradient.add(function_name="f", gradient_func="PyFunc")
    graph.meta_graphs[0].graph_def.library.function[0].attr["x"].func.name = "ReadFile"
    assert {f.operation for f in disallowed_operations(graph)} == {
        "WriteFile",
        "RemoteCall",
        "PyFunc",
        "ReadFile",
    }


def test_no_operation_of_the_list_reaches_outside():
    words = ("File", "Py", "Read", "Write", "Save", "Restore", "Merge", "Shard", "Rpc", "Dataset", "Iterator", "Print",
             "Summary", "Debug", "Send", "Recv", "Queue", "Remote", "Gradient", "Custom", "Decode", "Encode",
             "Load", "Url", "Socket", "Abort", "Random")  # fmt: skip
    harmless = {"ReadVariableOp", "DisableCopyOnRead", "UnicodeDecode", "UnicodeEncode", "StatelessRandomGetKeyCounter",
                "StatelessRandomUniformV2", "DecodePaddedRaw"}  # fmt: skip
    assert [name for name in ALLOWED - harmless if any(word in name for word in words)] == []
    assert ALLOWED.isdisjoint(SAVING | RESTORING)

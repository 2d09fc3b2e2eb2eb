"""Whether a graph is the one that an export of its configuration has, however its parts are called."""

import contextlib
import re

import pytest
import tensorflow as tf
from helpers.auditing import assert_refused
from helpers.exported_directories import DATA, GRAPH, HEADER, INDEX, entries, seal, string_sum, table
from helpers.forgeries import FORGERIES
from helpers.mutations import CHANGES, mutate, renamed
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfcharlm
from tfcharlm.artefact import exported_graph
from tfcharlm.artefact.graph_comparison import graph_difference
from tfcharlm.kernels import shards


@contextlib.contextmanager
def run_functions_eagerly():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@contextlib.contextmanager
def debugger():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


@contextlib.contextmanager
def many_cores():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "available_cores", lambda: 64)
        yield


@pytest.fixture(scope="session")
def expected(model):
    """The graph of another export of the same model, made in another order of all functions of the process."""
    return exported_graph(model)


def test_names_do_not_matter(graph, proto, expected):
    assert graph_difference(graph, expected) is None
    other = renamed(graph)
    names = [{f.signature.name for f in g.meta_graphs[0].graph_def.library.function} for g in (proto, other)]
    assert not names[0] & names[1]
    assert graph_difference(other, expected) is None


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_no_changed_graph_is_taken_for_an_export(proto, expected, rng, count):
    found = {}
    while sum(found.values()) < count:
        graph = SavedModel.FromString(proto.SerializeToString())
        change = mutate(graph, rng)
        if change is None or graph == proto:
            continue
        found[change] = found.get(change, 0) + 1
        try:
            difference = graph_difference(graph, expected)
        except ValueError as error:  # its functions call each other in a circle, or its names are ambiguous
            difference = str(error)
        assert difference, change
    assert count < 300 or set(found) == {change.__name__ for change in CHANGES}


def test_functions_that_call_each_other_in_a_circle(graph, expected):
    functions = graph.meta_graphs[0].graph_def.library.function
    for i, function in enumerate(functions[:2]):
        function.node_def.add(name="call", op="PartitionedCall").attr["f"].func.name = functions[1 - i].signature.name
    with pytest.raises(ValueError, match="in a circle"):
        graph_difference(graph, expected)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_names_that_the_comparison_gives_cannot_be_forged(proto, expected, forge):
    graph = SavedModel.FromString(proto.SerializeToString())
    forge(graph.meta_graphs[0])
    assert graph != proto
    try:
        difference = graph_difference(graph, expected)
    except ValueError as error:
        difference = str(error)
    assert difference


def test_inspect_compares_the_graph_with_the_configuration(directory, graph):
    """Only operations that exports have, and a graph that writes another text."""
    constants = [n for f in graph.meta_graphs[0].graph_def.library.function for n in f.node_def if n.op == "Const"]
    values = next(n.attr["value"].tensor.float_val for n in constants if n.attr["value"].tensor.float_val)
    values[0] = 7
    (directory / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
    seal(directory)
    inspection = tfcharlm.inspect_model(directory)
    assert not inspection.disallowed and not inspection.is_plain_export
    assert "its graph is not the one that tfcharlm writes" in inspection.differences[0]


def test_a_graph_in_another_form_is_a_difference(directory, proto):
    """An unknown field, which another version of TensorFlow may know."""
    (directory / GRAPH).write_bytes(proto.SerializeToString(deterministic=True) + b"\x98\x06\x01")
    seal(directory)
    assert tfcharlm.inspect_model(directory).differences == ("saved_model.pb is not as TensorFlow writes it",)


def test_the_checkpoint_assigns_its_variables_as_an_export_does(directory, model):
    """Two weights of one shape exchanged in the objects of the checkpoint: TensorFlow would read another model."""
    index = entries(directory)
    objects = index[b"_CHECKPOINTABLE_OBJECT_GRAPH"]
    data = (directory / DATA).read_bytes()
    keys = [f"model_weights/{i}/.ATTRIBUTES".encode() for i in (0, 4)]
    assert all(data.count(key) == 1 for key in keys)
    swapped = re.sub(b"|".join(keys), lambda m: keys[m[0] == keys[0]], data)
    (directory / DATA).write_bytes(swapped)
    seal(directory)
    # The checksum of the string does not agree yet.
    assert_refused(directory, "the checksum of '_CHECKPOINTABLE_OBJECT_GRAPH' does not agree")
    objects.crc32c = string_sum(swapped[objects.offset :])
    pairs = [(b"", HEADER.SerializeToString())] + [(k, v.SerializeToString()) for k, v in sorted(index.items())]
    (directory / INDEX).write_bytes(table(pairs))
    seal(directory)
    assert tfcharlm.load_model(directory).get_weights()[0].shape == model.get_weights()[0].shape
    assert tfcharlm.inspect_model(directory).differences == (
        "the variables in its checkpoint are not assigned as in an export",
    )


@pytest.mark.parametrize(
    "surroundings",
    [
        pytest.param(lambda: tf.distribute.MirroredStrategy(["CPU:0"]).scope(), id="strategy"),
        pytest.param(lambda: tf.device("CPU:0"), id="device"),
        pytest.param(lambda: tf.Graph().as_default(), id="graph", marks=pytest.mark.slow),
        pytest.param(run_functions_eagerly, id="eager functions"),
        pytest.param(debugger, id="debugger", marks=pytest.mark.slow),
        pytest.param(many_cores, id="64 cores"),
    ],
)
def test_what_the_caller_has_set_changes_no_graph(exported, surroundings):
    """An export of another machine, in whatever surroundings it is inspected."""
    with surroundings():
        assert tfcharlm.inspect_model(exported).is_plain_export

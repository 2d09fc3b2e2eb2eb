"""Graphs of exports, taken apart."""

import re

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from helpers.exported_directories import GRAPH
from tfcharlm.artefact.graph_operations import RESTORING, SAVING


def needed_operations(directory):
    """The operations of all nodes, taken from the text of the message: another way than the one that is tested."""
    text = str(SavedModel.FromString((directory / GRAPH).read_bytes()))
    return set(re.findall(r'^ *op: "(.*)"$', text, re.MULTILINE)) - SAVING - RESTORING


def function_named(graph, name):
    return next(f for f in graph.meta_graphs[0].graph_def.library.function if f.signature.name == name)


def called_by(graph, output):
    """The name of the function that a node of the main graph calls."""
    nodes = {node.name: node for node in graph.meta_graphs[0].graph_def.node}
    return nodes[output.partition(":")[0]].attr["f"].func.name

"""The objects in a checkpoint: by them TensorFlow finds out which bytes belong to which variable of a SavedModel."""

from tensorflow.core.protobuf.saved_object_graph_pb2 import SavedObjectGraph
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

KEY = "{}/{}/.ATTRIBUTES/VARIABLE_VALUE"
# The lists of an export that have variables. A variable in both has the name that the first one gives it.
LISTS = ("model_weights", "other_variables")


def checkpoint_objects(objects: SavedObjectGraph) -> TrackableObjectGraph:
    """What TensorFlow writes into the checkpoint of an export with these objects.

    Args:
        objects: the objects of the SavedModel.

    Returns:
        The same objects, each variable with its key in the checkpoint.
    """
    keys: dict[int, str] = {}
    for name in LISTS:
        for reference in _children(objects, 0, name):
            for element in objects.nodes[reference].children:
                keys.setdefault(element.node_id, KEY.format(name, element.local_name))
    graph = TrackableObjectGraph()
    for number, node in enumerate(objects.nodes):
        written = graph.nodes.add(children=node.children)
        if number in keys:
            written.attributes.add(name="VARIABLE_VALUE", full_name=node.variable.name, checkpoint_key=keys[number])
        # The root, the lists and the variables; functions and tables have nothing in a checkpoint.
        written.has_checkpoint_values.value = (
            number == 0 or number in keys or any(child.node_id in keys for child in node.children)
        )
    return graph


def _children(objects, number, name):
    return [child.node_id for child in objects.nodes[number].children if child.local_name == name]

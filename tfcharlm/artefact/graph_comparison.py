"""Whether two SavedModels have the same graph, whatever its nodes and functions are called."""

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact.graph_names import rename_by_position


def graph_difference(graph: SavedModel, expected: SavedModel) -> str | None:
    """Finds where a SavedModel differs from the one that was expected.

    Names and the version of TensorFlow are not compared. Everything else is, byte by byte.

    Args:
        graph: the message in `saved_model.pb`.
        expected: the same message of another export.

    Returns:
        None if the graphs are equal; otherwise where they differ, such as "function '__inference_score_12'".

    Raises:
        ValueError: the names in `graph` are ambiguous, or its functions call each other in a circle.
    """
    if len(graph.meta_graphs) != len(expected.meta_graphs):
        return "the number of graphs"
    (graph, names), (expected, _) = _comparable(graph), _comparable(expected)
    for meta, expected_meta in zip(graph.meta_graphs, expected.meta_graphs, strict=True):
        place = _function_difference(meta, expected_meta, names) or _field_difference(meta, expected_meta)
        if place:
            return place
    return None if _bytes(graph) == _bytes(expected) else "the version of the format"


def _comparable(graph):
    copy, names = SavedModel(), {}
    copy.CopyFrom(graph)
    for meta in copy.meta_graphs:
        names |= rename_by_position(meta)
        meta.meta_info_def.ClearField("tensorflow_version")
        meta.meta_info_def.ClearField("tensorflow_git_version")
    return copy, names


def _function_difference(meta, expected, names):
    found, wanted = (
        {function.signature.name: _bytes(function) for function in one.graph_def.library.function}
        for one in (meta, expected)
    )
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            return f"function {names.get(name, name)!r:.100}" if name in found else "a function is missing"
    return None


def _field_difference(meta, expected):
    for field in meta.DESCRIPTOR.fields:
        # `getattr` has the whole of a repeated field as well, which has no bytes of its own.
        one, other = type(meta)(), type(meta)()
        for part, whole in ((one, meta), (other, expected)):
            part.CopyFrom(whole)
            for rest in meta.DESCRIPTOR.fields:
                if rest != field:
                    part.ClearField(rest.name)
        if _bytes(one) != _bytes(other):
            return field.name
    return None


def _bytes(message):
    return message.SerializeToString(deterministic=True)

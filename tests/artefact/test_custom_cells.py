"""Cells of the user in a configuration from a stranger: which classes are found, and what they are called with."""

import copy

import keras
import pytest
from helpers.example_cells import make_cell

import tfcharlm
from tfcharlm.artefact import config_schema
from tfcharlm.artefact.strict_json import parse_json, write_json


@keras.saving.register_keras_serializable("strangers")
class Registered(keras.layers.LSTMCell):
    """A registered cell of another base class than RecurrentCell."""


@keras.saving.register_keras_serializable("strangers")
class Subclass(tfcharlm.LSTMCell):
    def __init__(self, units, table=None, **options):
        super().__init__(units, **options)
        self.table = table


@pytest.fixture
def config():
    """The configuration of a model with a cell of the examples, as an export would have it."""
    model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\n"), [make_cell("projected_lstm")], embedding_dim=3)
    return parse_json(
        write_json(
            {
                "format": 1,
                "tfcharlm": "0.2.0",
                "vocabulary_fingerprint": model.vocabulary.fingerprint,
                "model": model.get_config(),
            }
        )
    )


def test_a_registered_cell_is_found_by_its_name(config):
    (cell,) = config_schema.parse(config)["model"]["cells"]
    assert type(cell).__name__ == "ProjectedLSTMCell" and cell.state_sizes == (4, 5)


DENSE = {
    "module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"units": 2**20},
    "build_config": {"input_shape": [None, 2**20]},
}  # fmt: skip
OURS = {"module": "x", "class_name": "LSTMCell", "registered_name": "tfcharlm>LSTMCell"}
SUBCLASS = {"module": "x", "class_name": "Subclass", "registered_name": "strangers>Subclass"}
CHANGES = {
    "a cell of the package under another module": (
        OURS | {"config": {"units": 3, "recurrent_activation": DENSE}}, "must be a tfcharlm.RecurrentCell that",
    ),
    "an activation that is an object": (
        SUBCLASS | {"config": {"units": 3, "recurrent_activation": DENSE}}, "recurrent_activation must be one of",
    ),
    "an argument that is an object": (SUBCLASS | {"config": {"units": 3, "table": DENSE}}, "table must be plain data"),
    "an object inside an argument": (
        SUBCLASS | {"config": {"units": 3, "table": [{"a": DENSE}]}}, "table must be plain data",
    ),
    "an argument that is very deep": (
        SUBCLASS | {"config": {"units": 3, "table": [[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]}}, "plain data",
    ),
    "a unit too many": (SUBCLASS | {"config": {"units": 2**16 + 1}}, "units must be"),
    "an unknown argument": (SUBCLASS | {"config": {"units": 3, "nothing": 1}}, "cannot be built: "),
    "no argument": (SUBCLASS | {"config": {}}, "cannot be built: "),
    "arguments that are no object": (SUBCLASS | {"config": [3]}, "config must be an object"),
    "a class of Keras's registry": (
        {"module": "x", "class_name": "Registered", "registered_name": "strangers>Registered", "config": {"units": 3}},
        "must be a tfcharlm.RecurrentCell that is known: import the module that registers it, or pass",
    ),
    "a class of a module": (
        {"module": "subprocess", "class_name": "Popen", "registered_name": None, "config": {}},
        r"or pass custom_objects=\{'Popen': Popen\}; received 'Popen'",
    ),
    "no names": ({"module": [], "class_name": {}, "registered_name": 3, "config": {}}, r"cells\[0\]"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_stranger_writes_is_refused_in_one_line(config, change):
    value, line = CHANGES[change]
    config["model"]["cells"][0] = value
    with pytest.raises(ValueError, match=line) as caught:
        config_schema.parse(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", ["x", 0.5, -1, 0, 10**400, None, [4], {"a": 4}, True])
def test_sizes_that_are_none_are_refused(config, size):
    changed = copy.deepcopy(config)
    changed["model"]["cells"][0]["config"]["output_dim"] = size
    with pytest.raises(ValueError, match=r"cells\[0\]") as caught:
        config_schema.parse(changed)
    assert "\n" not in str(caught.value)


def test_only_recurrent_cells_are_taken_from_custom_objects(config):
    config["model"]["cells"][0] |= {"class_name": "Other", "registered_name": "Other"}
    with pytest.raises(ValueError, match=r"must be a tfcharlm.RecurrentCell"):
        config_schema.parse(config, {"Other": Registered})
    with pytest.raises(ValueError, match=r"must be a tfcharlm.RecurrentCell"):
        config_schema.parse(config, {"Other": lambda **config: None})
    kind = type(make_cell("projected_lstm"))
    (cell,) = config_schema.parse(config, {"Other": kind})["model"]["cells"]
    assert type(cell) is kind

"""An exported model, copies of it to spoil, and the exports of many kinds of models."""

import shutil
from pathlib import Path

import pytest
from helpers.exported_directories import GRAPH, make_model
from helpers.exported_models import ALL_MODELS
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tfcharlm


@pytest.fixture(scope="session")
def model():
    return make_model()


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("exported") / "model" / "1")


@pytest.fixture(scope="session")
def warm(exported):
    """Keras imports some modules when they are first needed; the directory has no part in that."""
    tfcharlm.load_model(exported)


@pytest.fixture
def directory(exported, tmp_path):
    """A copy of the export, to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


@pytest.fixture(scope="session")
def proto(exported):
    return SavedModel.FromString((exported / GRAPH).read_bytes())


@pytest.fixture
def graph(proto):
    """A copy of the exported graph, to spoil."""
    copy = SavedModel()
    copy.CopyFrom(proto)
    return copy


@pytest.fixture(scope="session")
def export_of(exported, tmp_path_factory):
    """The exports of `ALL_MODELS` by name, each made when it is first needed."""
    made = {"char": exported}

    def get(name):
        if name not in made:
            made[name] = ALL_MODELS[name]().export(tmp_path_factory.mktemp("own") / "1")
        return made[name]

    return get

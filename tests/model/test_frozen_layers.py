"""What of `trainable` is left after every way to copy and save a model: what a functional Keras model keeps."""

import copy
import pickle

import keras
import numpy as np
import pytest
from helpers.models import SIZE, VOCABULARY

import tfcharlm
from tfcharlm.text import stream_dataset

UNITS, EMBEDDING = 3, 2


def make_model(stacked=False):
    cells = [tfcharlm.LSTMCell(UNITS), tfcharlm.RNNCell(UNITS)]
    cells = [keras.layers.StackedRNNCells([tfcharlm.RNNCell(4), tfcharlm.RNNCell(UNITS)])] if stacked else cells
    return tfcharlm.CharLM(VOCABULARY, cells, EMBEDDING)


def make_functional():
    """The same layers in a functional model of Keras."""
    tokens = keras.Input((None,), dtype="int32")
    outputs = keras.layers.Embedding(SIZE, EMBEDDING, name="embedding")(tokens)
    for i, cell in enumerate([keras.layers.LSTMCell(UNITS), keras.layers.SimpleRNNCell(UNITS)]):
        outputs = keras.layers.RNN(cell, return_sequences=True, name=f"recurrent_{i}")(outputs)
    return keras.Model(tokens, keras.layers.Dense(SIZE, name="head")(outputs))


def freeze_embedding(model):
    model.get_layer("embedding").trainable = False


def freeze_head(model):
    model.get_layer("head").trainable = False


def freeze_layer(model):
    model.get_layer("recurrent_1").trainable = False


def freeze_cell(model):
    model.get_layer("recurrent_0").cell.trainable = False


def freeze_all_but_the_cell(model):
    model.get_layer("recurrent_0").trainable = False
    model.get_layer("recurrent_0").cell.trainable = True


def freeze_model(model):
    model.trainable = False


def freeze_model_and_thaw_head(model):
    model.trainable = False
    model.get_layer("head").trainable = True


def freeze_and_thaw_model(model):
    model.get_layer("head").trainable = False
    model.trainable = True


FREEZE = [freeze_embedding, freeze_head, freeze_layer, freeze_cell, freeze_all_but_the_cell, freeze_model,
          freeze_model_and_thaw_head, freeze_and_thaw_model]  # fmt: skip


def through_keras_file(model, directory):
    model.save(directory / "model.keras")
    return keras.models.load_model(directory / "model.keras")


def through_json(model, directory):
    return keras.models.model_from_json(model.to_json())


COPIES = {
    "from_config": lambda model, directory: model.from_config(model.get_config()),
    "clone_model": lambda model, directory: keras.models.clone_model(model),
    "deepcopy": lambda model, directory: copy.deepcopy(model),
    "copy": lambda model, directory: copy.copy(model),
    "pickle": lambda model, directory: pickle.loads(pickle.dumps(model)),
    ".keras": through_keras_file,
    "json": through_json,
    "export": lambda model, directory: tfcharlm.load_model(model.export(directory / "model" / "1")),
}


def flags(model):
    """`trainable` of the model, its layers and all that is in them, and the names of what is trained."""
    cells = [layer.cell for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    cells += [inner for cell in cells for inner in getattr(cell, "cells", ())]
    # Only the names of layers and weights; those of models and cells differ.
    trained = ["/".join(name for name in variable.path.split("/") if name != model.name and "cell" not in name)
               for variable in model.trainable_variables]  # fmt: skip
    return [thing.trainable for thing in (model, *(x for x in model.layers if x.weights), *cells)], trained


@pytest.mark.parametrize("way", [pytest.param(way, marks=[pytest.mark.slow] * (way == "export")) for way in COPIES])
def test_a_copy_is_frozen_as_a_functional_model_is(way, tmp_path):
    for i, freeze in enumerate(FREEZE):
        model, functional = make_model(), make_functional()
        freeze(model)
        freeze(functional)
        assert flags(model) == flags(functional)
        (tmp_path / str(i)).mkdir()
        again = COPIES[way](model, tmp_path / str(i))
        assert flags(again) == flags(model), freeze.__name__
        # Keras forgets to which layer the weights of a copied cell belong, but not whether they are trained.
        kept, trained = flags(through_json(functional, None))
        assert kept == flags(again)[0] and len(trained) == len(flags(again)[1]), freeze.__name__
        assert again.get_config() == model.get_config()


def test_cells_in_a_stack_keep_their_own_flags(tmp_path):
    for freeze in (freeze_layer, freeze_cell, lambda model: setattr(model.recurrent[0].cells[1], "trainable", False)):
        model = make_model(stacked=True)
        freeze(model) if freeze is not freeze_layer else setattr(model.recurrent[0], "trainable", False)
        assert flags(through_keras_file(model, tmp_path)) == flags(model)


@pytest.mark.slow
def test_a_frozen_model_is_exported_and_loaded_frozen(tmp_path):
    model = make_model()
    freeze_embedding(model)
    assert flags(COPIES["export"](model, tmp_path)) == flags(model)
    assert tfcharlm.inspect_model(tmp_path / "model").is_plain_export


def test_a_model_of_which_nothing_is_frozen_has_the_config_that_it_had():
    assert "frozen_layers" not in make_model().get_config()


def test_weights_of_a_copy_have_the_paths_of_the_original(tmp_path):
    """Keras would build the cells by themselves, and leave the names of the model and of the layer out."""
    for model in (make_model(), make_model(stacked=True)):
        paths = [variable.path for variable in model.variables]
        assert [variable.path for variable in through_keras_file(model, tmp_path).variables] == paths


@pytest.mark.parametrize("freeze", [freeze_embedding, pytest.param(freeze_layer, marks=pytest.mark.slow)])
def test_a_frozen_model_continues_with_the_state_of_its_optimizer(rng, freeze, tmp_path, small_graphs):
    """Half of a run, saved and loaded, then the other half: the weights of the whole run, and what is frozen stays."""
    keras.utils.set_random_seed(1)
    data = stream_dataset(rng.integers(SIZE, size=100), 3, 8)
    model = make_model()
    freeze(model)
    model.compile(keras.optimizers.Adam(0.05))
    initial = model.get_weights()
    model.fit(data, verbose=0)
    again = through_keras_file(model, tmp_path)
    for one, other in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(again.optimizer.iterations) == 4
    model.fit(data, verbose=0)
    again.fit(data, verbose=0)
    trained = {id(weight) for weight in model.trainable_weights}
    for weight, copied, before in zip(model.weights, again.get_weights(), initial, strict=True):
        np.testing.assert_array_equal(copied, weight)
        assert np.array_equal(weight, before) == (id(weight) not in trained)


def test_a_model_that_is_wholly_frozen_can_be_fitted(rng, small_graphs):
    """As in Keras: a warning, the loss, and no weight moves."""
    model = make_model()
    model.trainable = False
    model.compile(keras.optimizers.SGD(0.5))
    data, before = stream_dataset(rng.integers(SIZE, size=100), 3, 8), model.get_weights()
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        losses = model.fit(data, epochs=2, verbose=0).history["loss"]
    assert losses == pytest.approx([model.evaluate(data, verbose=0, return_dict=True)["loss"]] * 2, rel=1e-6)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("names", [["recurrent_7"], ["embeddings"], "embedding"])
def test_a_config_with_layers_that_the_model_does_not_have(names):
    with pytest.raises(ValueError):
        make_model().from_config(make_model().get_config() | {"frozen_layers": names})

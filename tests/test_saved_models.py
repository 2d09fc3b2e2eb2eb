"""The committed models: they are what their page says, and they work as they are."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm.cli.train import train
from tfcharlm.text import TextSplit, load_corpus, stream_dataset
from tfcharlm.training import BUDGETS, SUGGESTED, TrainingConfig

MODELS = Path(__file__).parents[1] / "saved_models"
PAGE = (MODELS / "README.md").read_text()
COMMANDS = re.findall(r"^tfcharlm train (.*)$", PAGE, re.MULTILINE)


def parameters_of(arguments):
    """What the command makes of its arguments."""
    return {name: value for name, value in train.make_context("train", arguments).params.items() if value is not None}


def committed(slow=()):
    """For a test with `(given, directory)`: the settings that were typed, and the directory of their model."""
    models = []
    for command in COMMANDS:
        given = parameters_of(shlex.split(command))
        marks = [pytest.mark.slow] * (given["name"] in slow)
        models.append(pytest.param(given, MODELS / given["name"] / "1", marks=marks, id=given["name"]))
    return pytest.mark.parametrize(("given", "directory"), models)


def test_the_page_names_the_committed_models():
    assert {parameters_of(shlex.split(command))["name"] for command in COMMANDS} == {"shakespeare", "names"}


@committed()
def test_a_committed_model_is_what_its_command_makes(given, directory):
    kept = json.loads((directory / "assets.extra" / "training.json").read_text())
    assert not kept["interrupted"]
    budget = dict.fromkeys(BUDGETS) | {name: given[name] for name in BUDGETS if name in given}
    for name, default in dataclasses.asdict(TrainingConfig(steps=1)).items():
        if name in given or name not in SUGGESTED:
            # A run of an earlier version did as later options do by default.
            assert kept.get(name, default) == (budget | given).get(name, default), name
    assert f"`{given['name']}/1`: {kept['val_loss']:.4f} nats" in PAGE
    inspection = tfcharlm.inspect_model(directory)
    assert inspection.is_plain_export, (inspection.differences, inspection.disallowed)
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6_000_000
    # Nor does anything say where it was made.
    assert not any(re.search(rb"/(home|root|Users|tmp|work)/", path.read_bytes()) for path in files)


@committed(slow=["shakespeare"])
def test_a_committed_model_writes(given, directory):
    """The same with this package and without it."""
    model = tfcharlm.load_model(directory)
    prompts = ["a", "jo"]
    generate = tf.saved_model.load(str(directory)).signatures["generate"]
    expected = generate(
        prompts=tf.constant(prompts),
        max_length=tf.constant(50),
        temperature=tf.constant(0.7),
        top_k=tf.constant(0),
        top_p=tf.constant(1.0),
        seed=tf.constant([3, 4], tf.int64),
    )["text"].numpy()
    texts = model.generate(prompts, max_length=50, temperature=0.7, seed=[3, 4])
    assert [text.decode() for text in expected] == texts


@pytest.mark.slow
@committed()
def test_a_committed_model_has_the_loss_that_its_page_says(given, directory):
    kept = json.loads((directory / "assets.extra" / "training.json").read_text())
    model = tfcharlm.load_model(directory)
    text = load_corpus(*given["corpus"])
    assert set(text) == set(model.vocabulary.tokens)
    split = TextSplit.from_text(text, validation_fraction=given["validation_fraction"], vocabulary=model.vocabulary)
    chunk = {name: kept[name] for name in ("batch_size", "sequence_length")}
    data = stream_dataset(split.validation_ids, **chunk, drop_remainder=False)
    model.compile()
    loss = model.evaluate(data, return_dict=True, verbose=0)["loss"]
    # Another processor adds in another order.
    assert loss == pytest.approx(kept["val_loss"], abs=1e-4)

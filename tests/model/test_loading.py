"""Export and loading: complete or absent, and what a damaged directory is told."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import PROMPTS

import tfcharlm


def test_export_is_complete_or_absent(letters_model, letters_directory, monkeypatch, tmp_path):
    with pytest.raises(FileExistsError, match=r"exists already; choose another version, such as .*2\."):
        letters_model.export(letters_directory)

    def fail(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        letters_model.export(tmp_path / "model" / "1")
    assert list(tmp_path.iterdir()) == []


def test_load_model_gives_the_model_back(letters_model, letters_directory):
    again = tfcharlm.load_model(letters_directory.parent)
    for weight, expected in zip(again.get_weights(), letters_model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert again.generate(PROMPTS, max_length=30, seed=3) == letters_model.generate(PROMPTS, max_length=30, seed=3)


DAMAGE = ["no such", "empty", "no json", "other format", "no weights", "wrong weights", "short weights"]
DAMAGE += ["vocabulary", "pattern"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_load_model_says_what_is_wrong(letters_directory, tmp_path, damage):
    path = tmp_path / "model"
    config = json.loads((letters_directory / "assets.extra" / "config.json").read_text())
    if damage != "no such":
        path.mkdir()
    if damage not in ("no such", "empty"):
        (path / "assets.extra").mkdir()
        if damage == "other format":
            config["format"] = 99
        if damage == "vocabulary":
            config["model"]["vocabulary"]["tokens"][2] = "z"
        if damage == "wrong weights":
            config["model"]["embedding_dim"] = 4
        content = "{" if damage == "no json" else json.dumps(config)
        (path / "assets.extra" / "config.json").write_text(content)
        if damage != "no weights":
            shutil.copytree(letters_directory / "variables", path / "variables")
        if damage == "short weights":
            with next((path / "variables").glob("*.data-*")).open("r+b") as file:
                file.truncate(700)
    if damage == "pattern":
        path = path.rename(tmp_path / "a[b]")
    with pytest.raises(ValueError) as caught:
        tfcharlm.load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)

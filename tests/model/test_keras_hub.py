"""`keras.saving.load_model("hf://...")`: what Keras uploads to a hub, and what it loads, without a network.

Keras uses the package `huggingface_hub` to send and fetch files, and for nothing else. These tests replace that package
by one whose repositories are directories. As on the hub, they have no empty directories, and have files that Keras did
not write.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.keras_surface import make_arrays, make_charlm

import tfcharlm

HUB = """
import os, shutil, types
from pathlib import Path

ROOT = Path(os.environ["TEST_HUB"])

class HfApi:
    def __init__(self, **_):
        pass

    def create_repo(self, repo_id, exist_ok):
        return types.SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, repo_id, folder_path, commit_message):
        for file in Path(folder_path).rglob("*"):
            if file.is_file():
                target = ROOT / repo_id / file.relative_to(folder_path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        (ROOT / repo_id / ".gitattributes").write_text("*.h5 filter=lfs")

def snapshot_download(repo_id, **_):
    return str(ROOT / repo_id)
"""
UPLOAD = """
import sys, keras, tfcharlm
keras.saving.load_model(sys.argv[1]).save("hf://somebody/letters")
"""
DOWNLOAD = """
import sys, keras, numpy, tfcharlm
numpy.save(sys.argv[2], keras.saving.load_model("hf://somebody/letters")(numpy.load(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def model():
    model = make_charlm(skip_connections=True)
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def fresh_process(program, hub, *arguments):
    paths = [str(hub), str(Path(tfcharlm.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TEST_HUB": str(hub / "repositories")}
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], env=environment, check=True)


@pytest.mark.parametrize("form", ["as saved", "as downloaded"])
def test_a_directory_is_the_model(model, form, tmp_path):
    """`save(zipped=False)` writes what Keras uploads. A download has a README, too, and no empty directories."""
    directory = tmp_path / "letters"
    model.save(directory, zipped=False)
    assert {path.name for path in directory.iterdir()} == {"assets", "config.json", "metadata.json", "model.weights.h5"}
    if form == "as downloaded":
        (directory / "assets").rmdir()
        for name in ("README.md", ".gitattributes"):
            (directory / name).write_text("text")
    again = keras.saving.load_model(directory)
    tokens = make_arrays()[0]
    assert type(again) is tfcharlm.CharLM and again.vocabulary == model.vocabulary
    np.testing.assert_array_equal(again(tokens), model(tokens))
    assert again.generate("a", max_length=20, seed=1) == model.generate("a", max_length=20, seed=1)


@pytest.mark.slow
def test_a_hub_gives_the_model_back(model, tmp_path):
    (tmp_path / "huggingface_hub.py").write_text(HUB)
    tokens = make_arrays()[0]
    np.save(tmp_path / "tokens.npy", tokens)
    model.save(tmp_path / "model.keras")
    fresh_process(UPLOAD, tmp_path, tmp_path / "model.keras")
    repository = tmp_path / "repositories" / "somebody" / "letters"
    assert {"config.json", "metadata.json", "model.weights.h5", "README.md"} <= {p.name for p in repository.iterdir()}
    fresh_process(DOWNLOAD, tmp_path, tmp_path / "tokens.npy", tmp_path / "logits.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), model(tokens))

"""The imports point one way, only public names of Keras and TensorFlow are used, and what is public is documented."""

import ast
import inspect
import sys
from pathlib import Path

import pytest

import tfcharlm

PACKAGE = Path(tfcharlm.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What a module of the package may import: other parts of the package, and packages from outside.
MAY_IMPORT = {
    "reference": ({"reference"}, {"numpy"}),
    "kernels": ({"kernels"}, {"tensorflow"}),
    "sampling": (set(), {"tensorflow"}),
    "carried": (set(), {"tensorflow"}),
    "distributed": (set(), {"tensorflow"}),
    "dropout": (set(), {"tensorflow"}),
    "disk": (set(), set()),
    "watch": ({"kernels"}, {"tensorflow"}),
    "guard": (set(), {"keras"}),
    "chunk": (set(), {"keras", "tensorflow"}),
    "checkpoint": ({"checkpoint", "disk"}, {"keras", "numpy", "tensorflow"}),
    "text": ({"text"}, {"numpy", "tensorflow", "keras"}),
    "layers": ({"kernels", "layers"}, {"keras", "tensorflow"}),
    "metrics": (set(), {"keras", "tensorflow"}),
    "version": (set(), set()),
    "generation": ({"generation", "sampling", "text"}, {"numpy", "tensorflow"}),
    "text_model": ({"generation", "metrics"}, {"keras"}),
    "untrusted": (set(), set()),
    "manifest": ({"untrusted"}, set()),
    "export": ({"expected", "manifest", "schema", "untrusted", "version"}, {"tensorflow"}),
    "stream_model": (
        {"carried", "checkpoint", "chunk", "distributed", "guard", "kernels", "metrics", "watch"},
        {"keras", "tensorflow"},
    ),
    "model_arguments": ({"text"}, {"keras"}),
    "model": (
        {
            "dropout",
            "edge",
            "export",
            "kernels",
            "layers",
            "metrics",
            "model_arguments",
            "stream_model",
            "text",
            "text_model",
        },
        {"keras", "tensorflow"},
    ),
    "edge": ({"edge", "layers", "text", "version"}, {"keras", "numpy", "onnx", "tensorflow"}),
    "schema": ({"layers", "text"}, {"keras"}),
    "expected": ({"layers"}, {"keras"}),
    "bundle": (set(), {"google", "numpy", "tensorflow"}),
    "loading": ({"bundle", "expected", "manifest", "model", "schema", "untrusted"}, {"tensorflow"}),
    "operations": (set(), set()),
    "inspection": ({"expected", "loading", "manifest", "operations", "text", "untrusted"}, {"google", "tensorflow"}),
    "callbacks": (set(), {"keras"}),
    "recipe": ({"callbacks", "layers", "model", "text"}, {"keras", "numpy"}),
    "suited": ({"kernels"}, {"tensorflow"}),
    "training": ({"callbacks", "checkpoint", "distributed", "guard", "model", "recipe", "text"}, set()),
    "tuning": (
        {"callbacks", "disk", "guard", "recipe", "text", "training", "tuning"},
        {"grpc", "keras", "keras_tuner", "numpy", "tensorboard", "tensorflow"},
    ),
    "novelty": (set(), {"numpy"}),
    "testing": ({"layers", "testing"}, {"keras", "numpy", "tensorflow"}),
    "activations": ({"activations", "kernels", "layers"}, {"keras", "numpy", "tensorflow"}),
    "plots": ({"plots"}, {"matplotlib", "numpy"}),
    "errors": ({"training"}, {"click", "tensorflow"}),
    "cli": (
        {
            "activations",
            "callbacks",
            "checkpoint",
            "cli",
            "disk",
            "distributed",
            "errors",
            "export",
            "guard",
            "inspection",
            "kernels",
            "loading",
            "novelty",
            "plots",
            "recipe",
            "suited",
            "text",
            "training",
            "tuning",
            "version",
        },
        {"click", "rich", "tensorflow"},
    ),
    "__init__": (
        {
            "checkpoint",
            "edge",
            "guard",
            "inspection",
            "kernels",
            "layers",
            "loading",
            "model",
            "novelty",
            "testing",
            "text",
            "tuning",
            "version",
        },
        set(),
    ),
}


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(source):
    """The dotted names that a source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            if node.module == "tfcharlm":
                yield from (f"tfcharlm.{alias.name}" for alias in node.names)


def forbidden(part, source):
    """What a source of this part imports and may not."""
    inside, outside = MAY_IMPORT[part]
    for name in imported(source):
        top, *rest = name.split(".")
        if top == "tfcharlm":
            if rest and rest[0] not in inside:
                yield name
        elif top not in outside | sys.stdlib_module_names or name.startswith(("keras.src", "tensorflow.python")):
            yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_table(path):
    assert list(forbidden(part_of(path), path.read_text())) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("reference", "import tensorflow as tf"),
        ("reference", "from tfcharlm.kernels import lstm_step"),
        ("kernels", "def f():\n    import keras"),
        ("model", "from tfcharlm import reference"),
        ("layers", "from keras.src import backend"),
        ("sampling", "import tfcharlm.model.char_lm"),
        ("cli", "import requests"),
    ],
)
def test_the_table_catches_what_it_should(part, source):
    assert list(forbidden(part, source)) != []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_parts_of_keras_and_tensorflow_are_not_touched(path):
    text = path.read_text()
    assert "keras.src" not in text
    assert "tensorflow.python" not in text


@pytest.mark.parametrize("name", [name for name in tfcharlm.__all__ if name not in ("__version__", "testing", "text")])
def test_what_is_public_is_documented_with_an_example(name):
    thing = getattr(tfcharlm, name)
    assert ">>> " in inspect.getdoc(thing), f"{name} has no example"

"""The package is the rooms that `ls` shows: imports between them point one way; what they hand out is documented."""

import ast
import builtins
import doctest
import functools
import graphlib
import importlib
import inspect
import statistics
import symtable
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.models import make_model

import tfcharlm
from tfcharlm.artefact import ExportableModel
from tfcharlm.checkpoint import ResumableModel
from tfcharlm.checkpoint.protocol import ResumableState, RunReplicas
from tfcharlm.generation import AdaptableModel, LanguageModel

PACKAGE = Path(tfcharlm.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What each room and each file beside them may import: rooms and files of the package, and packages from outside.
MAY_IMPORT = {
    "checks": (set(), {"numpy"}),
    "names": (set(), set()),
    "keras_backend": (set(), {"keras"}),
    "atomic_files": (set(), {"filelock"}),
    "bookkeeping": (set(), set()),
    "reference": (set(), {"numpy"}),
    "kernels": ({"checks"}, {"tensorflow"}),
    "pages": (set(), set()),
    "plots": ({"bookkeeping"}, {"matplotlib", "numpy"}),
    "checkpoint": ({"atomic_files", "checks"}, {"keras", "numpy", "tensorflow"}),
    "text": ({"atomic_files", "checks"}, {"charset_normalizer", "keras", "numpy", "tensorflow"}),
    "layers": ({"checks", "kernels"}, {"keras", "numpy", "tensorflow"}),
    "generation": ({"checks", "kernels", "text"}, {"numpy", "tensorflow"}),
    "testing": ({"layers"}, {"keras", "numpy", "tensorflow"}),
    "analysis": ({"checks", "kernels", "layers"}, {"keras", "numpy", "tensorflow"}),
    "artefact": (
        {"atomic_files", "checks", "generation", "layers", "pages", "text"},
        {"google", "google_crc32c", "keras", "numpy", "onnx", "onnxruntime", "tensorflow"},
    ),
    "model": ({"artefact", "checks", "generation", "kernels", "layers", "text"}, {"keras", "numpy", "tensorflow"}),
    "training": (
        {"checkpoint", "checks", "kernels", "layers", "model", "names", "text"},
        {"keras", "numpy", "tensorflow"},
    ),
    "tuning": (
        {"artefact", "atomic_files", "bookkeeping", "checks", "model", "text", "training"},
        {"grpc", "keras", "keras_tuner", "numpy", "tensorboard", "tensorflow"},
    ),
    "serving": (
        {"checks", "generation", "text"},
        {"anyio", "fastapi", "numpy", "prometheus_client", "pydantic", "starlette", "uvicorn"},
    ),
    "cli": (
        {"artefact", "bookkeeping", "checks", "generation", "names", "text", "training"},
        {"click"},
    ),
    "commands": (
        {
            "analysis",
            "artefact",
            "atomic_files",
            "bookkeeping",
            "checkpoint",
            "checks",
            "cli",
            "generation",
            "kernels",
            "model",
            "pages",
            "plots",
            "serving",
            "text",
            "training",
            "tuning",
        },
        {"click", "rich", "tensorflow"},
    ),
    "__init__": (
        {
            "analysis",
            "artefact",
            "checkpoint",
            "generation",
            "keras_backend",
            "kernels",
            "layers",
            "model",
            "testing",
            "text",
            "tuning",
        },
        set(),
    ),
}
ROOMS = [name for name in MAY_IMPORT if (PACKAGE / name).is_dir()]
# It is a room of its own inside tuning, and only tuning imports it.
INNER_ROOMS = ["tuning.fault_tolerance"]
# Modules that need no TensorFlow, in rooms that do. The command line imports them by their own names.
WITHOUT_TENSORFLOW = {
    "artefact.directories",
    "generation.sampling_settings",
    "serving.addresses",
    "text.corpora",
    "text.sources",
    "training.config",
    "training.search_space",
}
FILES = {"__init__.py", "atomic_files.py", "bookkeeping.py", "checks.py", "keras_backend.py", "names.py", "py.typed"}


def room_of(path):
    """The room of a source file, or its own name if it is in none."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(source):
    """(module, name or None) of everything that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


def forbidden(place, source):
    """What a source imports and may not; `place` is the dotted name of its module inside tfcharlm."""
    inside, outside = MAY_IMPORT[place.split(".")[0]]
    for module, name in imports(source):
        top, *rest = module.split(".")
        said = f"{module}.{name}" if name else module
        if top != "tfcharlm":
            if top not in outside | sys.stdlib_module_names or module.startswith(("keras.src", "tensorflow.python")):
                yield said
            continue
        if not rest:
            # `from tfcharlm import text` imports the room; `import tfcharlm` imports all of them.
            rest, name = [name], None
        if rest[0] is None or not _handed_out(place, inside, ".".join(rest), name):
            yield said


def _handed_out(place, inside, target, name):
    """Whether a module of tfcharlm may import a target (dotted, without "tfcharlm."), or this name of it."""
    room, own = target.split(".")[0], place.split(".")[0]
    for inner in INNER_ROOMS:
        if f"{target}.".startswith(f"{inner}."):
            if f"{place}.".startswith(f"{inner}."):
                return True
            return own == inner.split(".")[0] and target == inner and name in _public(inner)
        if f"{place}.".startswith(f"{inner}.") and room == own:
            return False
    if room == own:
        return True
    if own == "cli" and room not in {"bookkeeping", "checks", "names"}:
        return target in WITHOUT_TENSORFLOW
    if place == "commands.curve" and target in WITHOUT_TENSORFLOW:
        return True
    if room not in inside or target != room:
        return False
    return name is None or room not in ROOMS or name in _public(room)


def _public(room):
    return importlib.import_module(f"tfcharlm.{room}").__all__


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_follow_the_table(path):
    assert list(forbidden(name_of(path), path.read_text())) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("reference.rnn", "import tensorflow as tf"),
        ("reference.rnn", "from tfcharlm.kernels import run_step"),
        ("kernels.steps", "def f():\n    import keras"),
        ("model.char_lm", "from tfcharlm import reference"),
        ("layers.cells", "from keras.src import backend"),
        ("generation.sampling", "import tfcharlm.model"),
        ("generation.sampling", "import tfcharlm"),
        ("cli.train", "import requests"),
        # Files inside a room, in every way to import them.
        ("layers.rnn", "from tfcharlm.kernels.steps import run_step"),
        ("layers.rnn", "from tfcharlm.kernels import shards"),
        ("layers.rnn", "import tfcharlm.kernels.steps"),
        ("model.char_lm", "from tfcharlm.text import vocabulary"),
        ("commands.tune", "from tfcharlm.tuning.search import search"),
        ("commands.tune", "from tfcharlm.tuning.fault_tolerance import make_oracle"),
        ("cli.train", "from tfcharlm.training import TrainingConfig"),
        ("cli.train", "import tensorflow as tf"),
        ("cli.train", "from tfcharlm.commands import train"),
        ("tuning.search", "from tfcharlm.tuning.fault_tolerance.oracles import make_oracle"),
        ("tuning.fault_tolerance.tuner", "from tfcharlm.tuning.pruning import is_behind"),
    ],
)
def test_the_table_catches_what_it_should(place, source):
    assert list(forbidden(place, source)) != []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("kernels.batch_major", "from tfcharlm.kernels import fused_kernel"),
        ("layers.rnn", "from tfcharlm.kernels import run_step"),
        ("text.files", "from tfcharlm.atomic_files import anything"),
        ("__init__", "from tfcharlm import text"),
        ("tuning.search", "from tfcharlm.tuning.fault_tolerance import make_oracle"),
        ("cli.train", "from tfcharlm.training.config import TrainingConfig"),
        ("commands.train", "from tfcharlm.cli import UserError"),
        ("tuning.fault_tolerance.tuner", "from tfcharlm.tuning.fault_tolerance.leases import anything"),
    ],
)
def test_the_table_lets_pass_what_it_should(place, source):
    assert list(forbidden(place, source)) == []


def test_no_room_imports_one_above_it():
    """There is an order in which every room imports only earlier ones; without one, graphlib names the circle."""
    order = list(graphlib.TopologicalSorter({room: inside for room, (inside, _) in MAY_IMPORT.items()}).static_order())
    assert set(order) == set(MAY_IMPORT), "a room is imported that the table does not have"
    for room, (inside, _) in MAY_IMPORT.items():
        assert all(order.index(below) < order.index(room) for below in inside)


def test_the_directory_shows_the_rooms():
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert {name for name in found if (PACKAGE / name).is_dir()} == set(ROOMS) and len(ROOMS) == 17
    assert found - set(ROOMS) <= FILES
    assert {room_of(path) for path in SOURCES} == set(MAY_IMPORT) and len(MAY_IMPORT) == 23


def test_modules_are_short():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}
    assert statistics.median(lengths.values()) <= 125


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_private_parts_of_keras_and_tensorflow_are_not_touched(path):
    text = path.read_text()
    assert "keras.src" not in text
    assert "tensorflow.python" not in text


# -- what is public


def public_things():
    """{dotted name: class or function} of what tfcharlm and its rooms hand out."""
    modules = {"tfcharlm": tfcharlm} | {
        f"tfcharlm.{room}": importlib.import_module(f"tfcharlm.{room}") for room in [*ROOMS, *INNER_ROOMS]
    }
    return {
        f"{name}.{thing}": getattr(module, thing)
        for name, module in modules.items()
        for thing in getattr(module, "__all__", ())
        if inspect.isclass(getattr(module, thing)) or inspect.isroutine(getattr(module, thing))
    }


PUBLIC = public_things()


def test_every_room_says_what_it_hands_out():
    """All but the command line, which is for the shell."""
    without = [room for room in ROOMS if not hasattr(importlib.import_module(f"tfcharlm.{room}"), "__all__")]
    assert without in ([], ["cli"])
    for room in ROOMS:
        module = importlib.import_module(f"tfcharlm.{room}")
        assert module.__doc__
        assert all(hasattr(module, name) for name in getattr(module, "__all__", ()))


def test_what_is_public_is_documented():
    # A class without a docstring inherits one, or gets its signature for one.
    missing = [
        name
        for name, thing in PUBLIC.items()
        if not (thing.__doc__ or "").strip() or thing.__doc__.startswith(f"{thing.__name__}(")
    ]
    assert missing == []


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.count(".") == 1])
def test_what_the_package_hands_out_has_an_example(name):
    assert doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name])), f"{name} has no example"


def undefined_names(docstring):
    """Names that the examples of a docstring use without having imported or assigned them."""
    defined, undefined = set(dir(builtins)) | {"__name__"}, []
    for example in doctest.DocTestParser().get_examples(docstring):
        table = symtable.symtable(example.source, "<example>", "exec")
        defined |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
        undefined += sorted(_global_names(table) - defined)
    return undefined


def _global_names(table):
    """Names of the module that a symbol table and the scopes inside it look up."""
    top = table.get_type() == "module"
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return names.union(*map(_global_names, table.get_children()))


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (">>> import os\n>>> [os.sep for _ in range(3)]", []),
        (">>> [np.pi for _ in range(3)]", ["np"]),
        (">>> for i in range(3):\n...     print(i, lambda j: i + j)", []),
        (">>> x = 3\n>>> def f(y):\n...     return x + y + z", ["z"]),
        (">>> CharLM(Vocabulary('ab'))", ["CharLM", "Vocabulary"]),
    ],
)
def test_undefined_names_are_found(docstring, expected):
    assert undefined_names(docstring) == expected


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_examples_import_all_that_they_use(room):
    """So that they run when they are pasted into a new Python. Doctest would not notice: it has the module's names."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    missing = [
        (name_of(path), getattr(node, "name", ""), names)
        for path in SOURCES
        if room_of(path) == room
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, documented) and (names := undefined_names(ast.get_docstring(node) or ""))
    ]
    assert missing == []


def functions_of(name, thing):
    """(dotted name, function) of a function, or of the public methods and properties of a class of the package."""
    if inspect.isroutine(thing):
        yield name, thing
        return
    seen = set()
    for owner in thing.__mro__:
        if not owner.__module__.startswith("tfcharlm"):
            continue
        for attribute, value in vars(owner).items():
            if attribute in seen or (attribute.startswith("_") and attribute not in ("__init__", "__call__")):
                continue
            seen.add(attribute)
            for function in _functions_in(value):
                yield f"{name}.{attribute}", function


def _functions_in(value):
    if isinstance(value, property):
        return [function for function in (value.fget, value.fset) if function]
    if isinstance(value, functools.cached_property):
        return [value.func]
    # Of a tf.function, what was compiled.
    value = getattr(value, "__func__", value)
    value = inspect.unwrap(getattr(value, "python_function", value))
    # A dataclass and a protocol have functions that Python made.
    return [value] if inspect.isfunction(value) and value.__module__.startswith("tfcharlm") else []


def without_hints(function):
    """The parameters of a function that have no type hint, and "return"."""
    signature = inspect.signature(function)
    first = next(iter(signature.parameters), None)
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and not (name == first and name in ("self", "cls"))
    ]
    # Neither a constructor nor the setter of a property returns anything.
    returns = function.__name__ != "__init__" and signature.return_annotation is signature.empty
    return missing + ["return"] * returns


@pytest.mark.parametrize("room", ["tfcharlm", *ROOMS, *INNER_ROOMS])
def test_what_is_public_has_type_hints(room):
    prefix = "tfcharlm." if room == "tfcharlm" else f"tfcharlm.{room}."
    missing = {
        function_name: names
        for name, thing in PUBLIC.items()
        if name.startswith(prefix) and "." not in name.removeprefix(prefix)
        for function_name, function in functions_of(name, thing)
        if (names := without_hints(function))
    }
    assert missing == {}


# -- what a room asks of a model


@pytest.fixture(scope="module")
def model():
    """One that has been trained a step, after which Keras has set all of its attributes."""
    model = make_model("float32")
    model.compile(run_eagerly=True)
    tokens = np.array([[0, 2]])
    model.fit(tf.data.Dataset.from_tensors(({"tokens": tokens, "start": [True]}, tokens)), verbose=0)
    return model


PROTOCOLS = {
    AdaptableModel: lambda model: model,
    ExportableModel: lambda model: model,
    LanguageModel: lambda model: model,
    ResumableModel: lambda model: model,
    ResumableState: lambda model: model.run_state,
    RunReplicas: lambda model: model.run_state.replicas,
}


def test_every_protocol_is_checked():
    assert {thing for thing in PUBLIC.values() if getattr(thing, "_is_protocol", False)} <= set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_model_is_what_other_rooms_ask_of_it(model, protocol):
    thing = PROTOCOLS[protocol](model)
    members = set(protocol.__annotations__) | {name for name in vars(protocol) if not name.startswith("_")}
    assert members and [name for name in members if not hasattr(thing, name)] == []
    for name in members:
        asked = vars(protocol).get(name)
        if inspect.isfunction(asked):
            wanted = set(inspect.signature(asked).parameters) - {"self"}
            assert wanted <= set(inspect.signature(getattr(thing, name)).parameters), name

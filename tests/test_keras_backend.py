"""Backends of Keras other than TensorFlow, and settings of keras.json: they work, or one line says what to type."""

import json
import subprocess
import sys

import keras
import pytest
from helpers.command_line import BARN
from helpers.processes import environment, run, run_python

from tfcharlm.keras_backend import check_keras_backend

REFUSED = "The Keras backend must be tensorflow; received 'jax'. Type export KERAS_BACKEND=tensorflow"


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """Writes the keras.json of a home without any other setting, as before Keras is imported."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def write(text):
        (tmp_path / "keras.json").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def before_keras(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")


def test_a_keras_that_runs_on_another_backend_is_refused(monkeypatch):
    """Other backends are not installed here: Keras is made to say that it runs on one."""
    check_keras_backend()
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ImportError, match=f"^{REFUSED} .* comes from Keras, which was imported before tfcharlm.$"):
        check_keras_backend()


@pytest.mark.parametrize("backend", ["jax", "numpy", "torch", "openvino", "TensorFlow", "no backend", "x" * 1000])
def test_the_variable_is_refused_before_keras_is_imported(keras_home, before_keras, monkeypatch, backend):
    keras_home('{"backend": "tensorflow"}')
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(ImportError) as error:
        check_keras_backend()
    message = str(error.value)
    assert message.startswith(f"The Keras backend must be tensorflow; received {backend!r:.40}. Type export ")
    assert message.endswith("It comes from the environment variable KERAS_BACKEND.") and len(message) <= 300


@pytest.mark.parametrize("backend", ["jax", None, 3])
def test_the_file_is_refused_and_named(keras_home, before_keras, backend):
    path = keras_home(json.dumps({"backend": backend})) / "keras.json"
    with pytest.raises(ImportError) as error:
        check_keras_backend()
    assert f"received {backend!r}. " in str(error.value) and str(error.value).endswith(f"from the file {path}.")


def test_the_file_in_the_home_directory_is_found(before_keras, monkeypatch, tmp_path):
    for name in ("KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "jax"}')
    with pytest.raises(ImportError, match=f"from the file {tmp_path}/.keras/keras.json"):
        check_keras_backend()


@pytest.mark.parametrize("text", ["{}", '{"floatx": "float32"}', "no JSON", "[", ""])
def test_what_keras_ignores_is_no_error(keras_home, before_keras, monkeypatch, text):
    keras_home(text)
    monkeypatch.setitem(sys.modules, "keras", keras)
    check_keras_backend()


def fails(command, **variables):
    """The exit status and the lines on standard error of a command."""
    result = subprocess.run(command, env=environment(**variables), capture_output=True, text=True)
    return result.returncode, result.stderr.splitlines()


@pytest.mark.parametrize(
    "arguments", [["--show-config"], ["train", "names", "--name", "x", "--steps", "9"], ["sample", "names"]]
)
def test_every_command_says_so_in_one_line(arguments):
    status, lines = fails([sys.executable, "-m", "tfcharlm_command", *arguments], KERAS_BACKEND="jax")
    assert (status, len(lines)) == (2, 1) and lines[0].startswith(f"tfcharlm: {REFUSED}")


def test_the_import_says_so_at_the_end():
    status, lines = fails([sys.executable, "-c", "import tfcharlm"], KERAS_BACKEND="numpy")
    assert status == 1 and lines[-1].startswith("ImportError: The Keras backend must be tensorflow; received 'numpy'. ")


@pytest.mark.slow
@pytest.mark.parametrize("text", ['{"floatx": "float8"}', '{"epsilon": "small"}', "[]"])
def test_settings_that_keras_refuses_are_one_line(keras_home, text):
    path = keras_home(text) / "keras.json"
    status, lines = fails([sys.executable, "-m", "tfcharlm_command", "--show-config"], KERAS_HOME=str(path.parent))
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("tfcharlm: Keras cannot be imported: ") and str(path) in lines[0]


TRAIN = ["train", "barn.txt", "--steps", "3", "--units", "8", "--embedding-dim", "8", "--batch-size", "4"]


@pytest.mark.slow
def test_a_model_of_float64_works_where_it_is_made_and_elsewhere(keras_home, tmp_path):
    variables = {"KERAS_HOME": str(keras_home('{"floatx": "float64"}'))}
    (tmp_path / "barn.txt").write_text(BARN)
    command = [sys.executable, "-m", "tfcharlm_command"]
    run(*command, *TRAIN, "--name", "f64", variables=variables, cwd=tmp_path)
    program = (
        "import tfcharlm; model = tfcharlm.load_model('saved_models/f64'); "
        "print({w.dtype for w in model.weights}, model.score('the old cat')['log_probability'])"
    )
    here = run_python(program, variables=variables, cwd=tmp_path)
    elsewhere = run_python(program, variables={"KERAS_HOME": str(tmp_path / "other")}, cwd=tmp_path)
    assert here == elsewhere and here.startswith("{'float64'} -")


@pytest.mark.slow
def test_training_in_float16_is_refused_in_one_line(keras_home, tmp_path):
    variables = {"KERAS_HOME": str(keras_home('{"floatx": "float16"}'))}
    (tmp_path / "barn.txt").write_text(BARN)
    command = [sys.executable, "-m", "tfcharlm_command", *TRAIN, "--name", "f16"]
    result = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("tfcharlm: dtype must be float32, float64 or a mixed policy in training, ")
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "saved_models").exists()

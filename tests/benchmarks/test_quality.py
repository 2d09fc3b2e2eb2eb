"""benchmarks/quality.py: losses of both protocols, what a run is given, and what a sitting keeps."""

import dataclasses
import hashlib
import itertools
import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import protocols
import pytest
import quality
import quality_runs as runs
from helpers.quality import SETTINGS, TEXT, TRAINING, VALIDATION

import tfcharlm
from tfcharlm import reference
from tfcharlm.artefact import export_saved_model
from tfcharlm.cli.train import train
from tfcharlm.text import Vocabulary
from tfcharlm.training import SUGGESTED, TrainingConfig


@pytest.fixture(scope="module")
def parameters():
    return reference.random_parameters(np.random.default_rng(3), len(set(TEXT)), 5, [("lstm", 7)], scale=0.9)


@pytest.fixture(scope="module")
def model(parameters):
    """In float64, with the weights of the reference."""
    cells = [tfcharlm.LSTMCell(7, dtype="float64")]
    model = tfcharlm.CharLM(Vocabulary.from_text(TEXT, spell=False), cells, embedding_dim=5, dtype="float64")
    model.embedding.embeddings.assign(parameters.embedding)
    lstm, cell = parameters.recurrent[0], model.recurrent[0].cell
    for variable, array in zip((cell.kernel, cell.recurrent_kernel, cell.bias), lstm, strict=True):
        variable.assign(array)
    model.head.kernel.assign(parameters.head_kernel)
    model.head.bias.assign(parameters.head_bias)
    return model


def nats(parameters, ids):
    """The losses of a row from a zero state, by the reference."""
    logits, *_ = reference.step(parameters, ids[None, :-1], reference.initial_state(parameters, 1))
    return -np.log(reference.softmax(logits)[0, np.arange(len(ids) - 1), ids[1:]])


@pytest.mark.parametrize("length", [2, 15, 39])
def test_losses_are_those_of_the_reference(model, parameters, rng, length):
    ids = rng.integers(len(model.vocabulary), size=length).astype(np.int32)
    assert protocols.evaluate_stream(model, ids, chunk=5) == pytest.approx(nats(parameters, ids).mean(), rel=1e-6)
    windows = [nats(parameters, ids[begin : begin + 8]) for begin in range(0, length - 1, 7)]
    assert sum(map(len, windows)) == length - 1
    expected = np.concatenate(windows).mean()
    assert protocols.evaluate_cold(model, ids, window=7, rows=3) == pytest.approx(expected, rel=1e-6)


def test_a_name_is_scored_with_its_end_and_from_a_fresh_state(model, parameters):
    names = ["abba", "g", "feed"]
    losses = [nats(parameters, model.vocabulary.encode(f"\n{name}\n")) for name in names]
    expected = np.concatenate(losses)
    assert len(expected) == 4 + 1 + 4 + 3
    assert protocols.score_names(model, names)["loss"] == pytest.approx(expected.mean(), rel=1e-6)


def test_a_text_is_cut_behind_nine_tenths():
    training, validation = runs.split_text("x" * 1_003_854 + "y" * 111_540)
    assert (set(training), set(validation)) == ({"x"}, {"y"})


def test_names_are_cut_as_makemore_cuts_them():
    torch = pytest.importorskip("torch")
    names = [f"name{i}" for i in range(2_345)]
    training, held_out = runs.split_names("\n".join(names) + "\n")
    torch.manual_seed(3407)
    order = torch.randperm(2_345).tolist()
    assert (len(training), len(held_out)) == (1_345, 1_000)
    assert [names[i] for i in order] == training + held_out


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.txt").write_text(TEXT)
    with pytest.raises(SystemExit, match=r"other.txt is not tinyshakespeare: its SHA-256 is .*, expected 86c4e6aa"):
        runs.read(tmp_path / "other.txt", "tinyshakespeare")


@pytest.mark.parametrize("name", runs.COMPRESSORS)
def test_a_compressor_knows_the_training_text(name):
    letters = random.Random(1)
    training, unseen = ("".join(letters.choices("abcdefghijklmnop", k=8_000)) for _ in range(2))
    assert runs.compress(name, training, unseen)["stream"] == pytest.approx(math.log(16), rel=0.2)
    assert runs.compress(name, training, "a" * 8_000)["stream"] < 0.1
    if name == "xz":
        assert runs.compress(name, training, training)["stream"] < 0.1


@pytest.mark.parametrize("name", runs.ADAPTIVE)
def test_a_compressor_that_learns_knows_the_training_text(name):
    pytest.importorskip("pyppmd")
    pytest.importorskip("zpaq")
    letters = random.Random(1)
    training, unseen = ("".join(letters.choices("abcdefghijklmnop", k=8_000)) for _ in range(2))
    assert runs.learn_while_reading(name, training, unseen)["adaptive"] == pytest.approx(math.log(16), rel=0.2)
    assert runs.learn_while_reading(name, training, training)["adaptive"] < 0.2


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """What `tfcharlm train` leaves behind."""
    curve = "step,seconds,val_loss\n7,1.5,2.0\n31,3.0,1.9\n"
    files = {"learning_curve.csv": curve.encode(), "training.json": json.dumps(SETTINGS).encode()}
    return export_saved_model(model, tmp_path_factory.mktemp("exported") / "1", files)


@pytest.fixture
def commands(monkeypatch, exported):
    """Takes the place of `subprocess.run`: the list of (arguments, {file: content} of its directory)."""
    seen = []

    def run(command, cwd, check):
        assert check
        files = {path.relative_to(cwd).as_posix(): path.read_text() for path in Path(cwd).rglob("*") if path.is_file()}
        seen.append((command, files))
        arguments = dict(itertools.pairwise(command))
        shutil.copytree(exported, Path(cwd, arguments["--output"], arguments["--name"], "1"))

    monkeypatch.setattr(runs.subprocess, "run", run)
    return seen


def test_a_run_is_a_process_that_has_the_training_text_alone(commands, model):
    score = {"loss": 0.5}
    record = runs.train("tinyshakespeare", TRAINING, lambda model: score, 1.5, 2, ["--weight-drop", "0"])
    (command, files), *others = commands
    assert others == []
    assert files == {"tinyshakespeare.txt": TRAINING}
    assert not any(VALIDATION[begin : begin + 20] in str(command) for begin in range(0, len(VALIDATION) - 20, 20))
    executable, *arguments = command
    assert (executable.name, executable.parent) == ("tfcharlm", Path(sys.executable).parent)
    expected = "train tinyshakespeare.txt --minutes 1.5 --seed 2 --name tinyshakespeare --output models"
    assert arguments == [*expected.split(), "--validation-fraction", str(runs.REPORTED_ON), "--weight-drop", "0"]
    assert record.pop("seconds") > 0
    assert record == {
        "loss": 0.5,
        "parameters": model.count_params(),
        "updates": 31,
        "arguments": arguments,
        "settings": SETTINGS,
    }


@pytest.mark.slow
def test_a_sitting_keeps_what_it_has_and_another_continues(commands, model, monkeypatch, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.setattr(runs, "ADAPTIVE", {})
    monkeypatch.setitem(runs.SHA256, "tinyshakespeare", hashlib.sha256(TEXT.encode()).hexdigest())
    command = ["quality.py", "--results", str(tmp_path / "quality.json")]
    sitting = [*command, str(tmp_path / "text.txt"), "--minutes", "1.5", "--minutes", "2", "--seeds", "1"]

    def results():
        return json.loads((tmp_path / "quality.json").read_text())

    monkeypatch.setattr(sys, "argv", sitting)
    quality.main()
    counted = {f"tinyshakespeare/{name}" for name in (*runs.COMPRESSORS, "kneser-ney")}
    assert set(results()) == counted | {"tinyshakespeare/1.5/seed1", "tinyshakespeare/2/seed1"}
    assert [files for _, files in commands] == 2 * [{"tinyshakespeare.txt": TRAINING}]
    ids = model.vocabulary.encode(VALIDATION)
    record = results()["tinyshakespeare/2/seed1"]
    assert record["stream"] == pytest.approx(protocols.evaluate_stream(model, ids))
    assert record["cold"] == pytest.approx(protocols.evaluate_cold(model, ids))
    adaptive = model.token_log_probabilities(VALIDATION, adapt=True)
    assert record["adaptive"] == pytest.approx(-adaptive.mean()) and len(adaptive) == len(VALIDATION)
    assert "tensorflow" in record["environment"]
    assert str(tmp_path) not in json.dumps(results())
    assert f"cold {record['cold']:.4f}" in capsys.readouterr().out
    assert f"{record['stream']:.4f}" in (tmp_path / "quality.md").read_text()
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(runs, "score_text", lambda model, text: {"stream": 1.0, "cold": 2.0})
    monkeypatch.setattr(sys, "argv", [*sitting, "2"])
    quality.main()
    assert len(commands) == 4
    assert results()["tinyshakespeare/2/seed1"] == record
    monkeypatch.setattr(sys, "argv", [*sitting, "--again"])
    quality.main()
    assert len(commands) == 6
    monkeypatch.setattr(sys, "argv", [*command, "--table"])
    quality.main()
    assert len(commands) == 6
    assert results()["tinyshakespeare/2/seed1"]["cold"] == 2.0


def test_what_fails_does_not_end_a_sitting_and_what_is_killed_keeps_the_rest(tmp_path):
    path, results = tmp_path / "quality.json", {"old": {"loss": 3.0}}

    def failing(error):
        raise error

    wanted = {
        "old": lambda: failing(AssertionError("it is there already")),
        "failing": lambda: failing(subprocess.CalledProcessError(2, ["tfcharlm"])),
        "new": lambda: {"loss": 1.0},
        "killed": lambda: failing(KeyboardInterrupt()),
    }
    with pytest.raises(KeyboardInterrupt):
        quality.work_off(wanted, results, path)
    kept = json.loads(path.read_text())
    assert {key: record["loss"] for key, record in kept.items()} == {"old": 3.0, "new": 1.0}
    del wanted["killed"]
    assert quality.work_off(wanted, kept, path) == ["failing"]
    assert [file.name for file in tmp_path.iterdir()] == ["quality.json"]


def recipe():
    """The settings of a run with every ingredient: each differs from its value when the ingredient is left out."""
    return dataclasses.asdict(TrainingConfig(minutes=10)) | {
        "units": 480, "dropout": 0.13, "input_dropout": 0.07, "weight_drop": 0.25, "weight_decay": 0.01,
        "state_reset_probability": 0.02, "random_start": True, "unigram_output_bias": True,
    }  # fmt: skip


def test_the_ablation_leaves_out_one_ingredient_at_a_time(monkeypatch):
    monkeypatch.setattr(runs, "read", lambda path, corpus: TEXT)
    asked = {"corpus": "text.txt", "names": None, "minutes": [30.0], "seeds": [5], "ablation": True, "nanogpt": "there"}
    results = {}
    wanted = runs.jobs(type("Arguments", (), asked), results)
    whole = "tinyshakespeare/10/seed0"
    assert {whole, "tinyshakespeare/30/seed5", "tinyshakespeare/nanogpt"} < set(wanted)
    for key in (whole, "tinyshakespeare/30/seed5"):
        name, text, score, *_ = wanted[key].args
        assert (name, text, score.keywords) == ("tinyshakespeare", TRAINING, {"text": VALIDATION})

    left_out = {key.removeprefix(f"{whole}/without "): work for key, work in wanted.items() if f"{whole}/" in key}
    assert list(left_out) == list(runs.WITHOUT)
    for work in left_out.values():
        with pytest.raises(runs.MissingResultError, match=f"no {whole} among"):
            work()
    results[whole] = {"settings": recipe()}

    def parsed(options):
        """What the command makes of its options."""
        params = train.make_context("train", ["text.txt", "--minutes", "10", "--name", "x", *options]).params
        return {name: value for name, value in params.items() if value is not None}

    nothing = parsed([])
    for name, work in left_out.items():
        *arguments, run = work.args
        assert run.args == wanted[whole].args[:3]
        given = []
        record = runs.leave_out(*arguments, lambda *received, given=given: given.append(received) or {"loss": 1.0})
        [(minutes, seed, options)] = given
        assert (minutes, seed, record["loss"]) == (10, 0, 1.0)
        pinned = {option: recipe()[option] for option in SUGGESTED}
        assert parsed(options) == nothing | pinned | runs.WITHOUT[name]
        assert parsed(record["left_out"].split()) == nothing | runs.WITHOUT[name]


def test_runs_on_names_learn_the_others(monkeypatch):
    pytest.importorskip("torch")
    names = [f"name{i}" for i in range(1_234)]
    monkeypatch.setattr(runs, "read", lambda path, corpus: "\n".join(names))
    asked = {"corpus": None, "names": "names.txt", "minutes": None, "seeds": (0, 1), "ablation": False}
    wanted = runs.jobs(type("Arguments", (), asked), {})
    assert list(wanted) == ["names/kneser-ney", "names/10/seed0", "names/10/seed1"]
    for work in list(wanted.values())[1:]:
        name, text, score, *_ = work.args
        assert (name, len(text.splitlines()), len(score.keywords["names"])) == ("names", 234, 1_000)
        assert text.endswith("\n")
        assert {*text.splitlines(), *score.keywords["names"]} == set(names)


def test_nanogpt_runs_by_its_own_command_on_the_same_text(tmp_path):
    data = tmp_path / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    (data / "prepare.py").write_text(
        "import pathlib\nfolder = pathlib.Path(__file__).parent\n"
        "(folder / 'train.bin').write_bytes((folder / 'input.txt').read_bytes())\n"
    )
    (tmp_path / "train.py").write_text(
        "import sys\nassert '--max_iters=2000' in sys.argv\nassert sys.argv[1] == 'config/train_shakespeare_char.py'\n"
        "open('data/shakespeare_char/train.bin')\nprint('number of parameters: 0.80M')\n"
        "for step, loss in ((0, 4.2), (2000, 1.8857)): print(f'step {step}: train loss 1.7, val loss {loss:.4f}')\n"
        "print('iter 2000: loss 1.6, time 9.00ms, mfu -100.00%')\n"
    )
    record = runs.nanogpt(tmp_path, TEXT)
    assert (record["cold"], record["updates"], record["parameters"]) == (1.8857, 2_000, 800_000)
    assert (data / "train.bin").read_text() == TEXT

"""benchmarks/quality.py: losses of both protocols, n-grams, what a run is given, and the tables of what came out."""

import collections
import dataclasses
import functools
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
import pytest
from matplotlib.figure import Figure

import tfcharlm
from tfcharlm import reference
from tfcharlm.cli.train import train
from tfcharlm.artefact.export import export
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.sizing import SUGGESTED
from tfcharlm.text import Vocabulary

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import protocols
import quality
import quality_page as tables
import quality_plot
import quality_runs as runs
from kneser_ney import KneserNey, best_order, count_names, count_text

TEXT = "".join(random.Random(0).choices("abcdefg \n", weights=range(1, 10), k=2_000))
TRAINING, VALIDATION = TEXT[:1_800], TEXT[1_800:]
SETTINGS = {"corpus": "tinyshakespeare.txt", "units": 7, "layers": 1, "seed": 0, "val_loss": 1.0, "clip_norm": 1.0}
SETTINGS["val_bits_per_character"] = 1.4
AVX2 = quality.RESULTS.with_name("quality-avx2.json")


def brute_force(documents, order, size):
    """A function of (w, h), by the book: dictionaries, sets of predecessors, and the recursion."""
    before = collections.defaultdict(list)
    for number, document in enumerate(documents):
        for end in range(1, len(document)):
            for k in range(1, min(order, end + 1) + 1):
                gram = tuple(document[end - k + 1 : end + 1])
                before[gram].append(document[end - k] if end >= k else ("beginning", number))
    counts = {gram: len(found if len(gram) == order else set(found)) for gram, found in before.items()}

    @functools.cache
    def discount(k, count):
        n = collections.Counter(count for gram, count in counts.items() if len(gram) == k)
        i = min(count, 3)
        if not n[i] or not n[1]:
            return i / 2
        estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
        return min(max(estimate, 0.1), i)

    def probability(w, h):
        h = h[max(len(h) - order + 1, 0) :]
        shorter = probability(w, h[1:]) if h else 1 / size
        own = {v: counts[*h, v] for v in range(size) if (*h, v) in counts}
        if not own:
            return shorter
        k, total = len(h) + 1, sum(own.values())
        kept = own[w] - discount(k, own[w]) if w in own else 0
        return (kept + sum(discount(k, count) for count in own.values()) * shorter) / total

    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_is_that_of_dictionaries(rng, order):
    size = 5
    # The last symbol is never seen, and contexts of any length begin documents.
    documents = [rng.integers(size - 1, size=length) for length in (47, 1, 2, 13, 6)]
    model, expected = KneserNey(documents, order, size), brute_force([d.tolist() for d in documents], order, size)
    texts = [rng.integers(size, size=length).tolist() for length in (19, 2, 8)]
    wanted = [expected(text[i], tuple(text[:i])) for text in texts for i in range(1, len(text))]
    np.testing.assert_allclose(model.probabilities([np.array(text) for text in texts]), wanted, rtol=1e-12)
    assert model.loss([np.array(text) for text in texts]) == pytest.approx(-np.log(wanted).mean())


def test_probabilities_of_kneser_ney_add_up_to_one(rng):
    size = 11
    symbols = rng.choice(size - 1, p=(p := rng.random(size - 1)) / p.sum(), size=3_000)
    model = KneserNey([symbols[:1_900], symbols[1_900:]], order=4, size=size)
    contexts = [symbols[i : i + length] for i in (0, 5, 1_898) for length in (1, 2, 3, 6)]
    contexts += [rng.integers(size, size=length) for length in (1, 3, 7)]
    contexts += [np.full(4, size - 1)]
    for context in contexts:
        sentences = [np.append(context, w) for w in range(size)]
        last = model.probabilities(sentences).reshape(size, -1)[:, -1]
        assert last.min() > 0
        assert abs(last.sum() - 1) < 1e-12


def test_the_order_is_that_of_the_text(rng):
    symbols = [0, 1]
    while len(symbols) < 6_000:
        symbols.append((2 * symbols[-1] + symbols[-2]) % 5 if rng.random() < 0.8 else int(rng.integers(5)))
    assert best_order([np.array(symbols[:5_000])], [np.array(symbols[5_000:])], 5, orders=[1, 2, 3, 5]) == 3


@pytest.mark.parametrize("order", [0, 4])
def test_an_order_that_documents_do_not_have_is_an_error(order):
    with pytest.raises(ValueError, match=f"order must be from 1 to 3.*received {order}"):
        KneserNey([np.zeros(4, int)], order, 3)
    with pytest.raises(ValueError, match="do not fit into 64 bits"):
        KneserNey([np.zeros(99, int)], 8, 256)


def test_an_n_gram_of_a_text_or_of_names_is_scored_by_the_same_protocols():
    record = count_text(TRAINING, VALIDATION, window=64)
    symbol = sorted(set(TEXT)).index
    training, validation = ([symbol(c) for c in text] for text in (TRAINING, VALIDATION))
    probability = brute_force([training], record["order"], len(set(TEXT)))
    whole = [probability(validation[i], tuple(validation[:i])) for i in range(1, len(validation))]
    assert record["stream"] == pytest.approx(-np.log(whole).mean())
    cold = [
        probability(validation[i], tuple(validation[begin:i]))
        for begin in range(0, len(validation) - 1, 64)
        for i in range(begin + 1, min(begin + 64, len(validation) - 1) + 1)
    ]
    assert len(cold) == len(whole)
    assert record["cold"] == pytest.approx(-np.log(cold).mean())

    names = ["anna", "bob", "hannahbanana", "abba", "nob"] * 10
    record = count_names(names, ["ann", "b"])
    documents = [["\nabhno".index(c) for c in f"\n{name}\n"] for name in [*names, "ann", "b"]]
    probability = brute_force(documents[:-2], record["order"], 6)
    expected = [probability(d[i], tuple(d[:i])) for d in documents[-2:] for i in range(1, len(d))]
    assert len(expected) == len("ann\n") + len("b\n")
    assert record["loss"] == pytest.approx(-np.log(expected).mean())


@pytest.fixture(scope="module")
def parameters():
    return reference.random_parameters(np.random.default_rng(3), len(set(TEXT)), 5, [("lstm", 7)], scale=0.9)


@pytest.fixture(scope="module")
def model(parameters):
    """In float64, with the weights of the reference."""
    cells = [tfcharlm.LSTMCell(7, dtype="float64")]
    model = tfcharlm.CharLM(Vocabulary.from_text(TEXT), cells, embedding_dim=5, dtype="float64")
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


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """What `tfcharlm train` leaves behind."""
    curve = "step,seconds,val_loss\n7,1.5,2.0\n31,3.0,1.9\n"
    files = {"learning_curve.csv": curve.encode(), "training.json": json.dumps(SETTINGS).encode()}
    return export(model, tmp_path_factory.mktemp("exported") / "1", files)


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


def test_a_sitting_keeps_what_it_has_and_another_goes_on(commands, model, monkeypatch, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
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
    """Of a run: none of its numbers is that of a run without an ingredient."""
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


def run_of(stream, seed=0, minutes=10, **settings):
    return {
        "stream": stream,
        "cold": stream + 0.02,
        "seconds": 60.0 * minutes + 15 + seed,
        "updates": 2_000 + seed,
        "parameters": 1_219_201,
        "arguments": ["train", "tinyshakespeare.txt"],
        "settings": SETTINGS | {"seed": seed, "units": 512} | settings,
        "environment": "a processor",
    }


@pytest.fixture
def results():
    """Of two sittings, in no order."""
    return {
        "tinyshakespeare/30/seed0": run_of(1.43, minutes=30),
        "tinyshakespeare/10/seed2": run_of(1.46, seed=2),
        "tinyshakespeare/10/seed0": run_of(1.45),
        "tinyshakespeare/10/seed0/without nothing": run_of(1.451) | {"left_out": "", "environment": "a new processor"},
        "tinyshakespeare/10/seed0/without dropout": run_of(1.4813) | {"left_out": "--dropout 0"},
        "tinyshakespeare/kneser-ney": {"stream": 1.5, "cold": 1.53, "order": 7, "environment": "another processor"},
        "names/10/seed0": {name: value for name, value in run_of(1.9).items() if name != "cold"} | {"loss": 1.875},
    }


def test_tables_have_means_seeds_bits_and_what_was_not_run_here(results):
    page = tables.page(results)
    ten = "| `tfcharlm train`, 10 minutes | 616 | 1 x 512 | 1,219,201 | 2,001 | **1.4550** (1.4500, 1.4600) "
    assert f"{ten}| **1.4750** (1.4700, 1.4800) | {1.455 / math.log(2):.3f} / {1.475 / math.log(2):.3f} |" in page
    assert page.index("10 minutes |") < page.index("30 minutes |") < page.index("Kneser-Ney, 7-gram")
    assert "| nanoGPT, CPU recipe (not run here: its README, about 3 minutes on a laptop) |  |  | 800,000 |" in page
    assert "|  | 1.88 | 2.712 |" in page
    assert (
        f"| `tfcharlm train`, 10 minutes | 615 | 1 x 512 | 1,219,201 | 2,000 | 1.8750 | {1.875 / math.log(2):.3f} |"
        in page
    )
    assert "which are compared with it. a new processor; or a processor." in page
    assert "| the whole recipe |  | 2,000 | 1.4510 | +0.0000 | 1.4710 | +0.0000 |" in page
    assert "| without dropout | --dropout 0 | 2,000 | 1.4813 | +0.0303 | 1.5013 | +0.0303 |" in page
    assert "2 seeds lie within 0.0100 (stream) and 0.0100 (cold)" in page
    assert "cell lstm, units 512, layers 1, embedding_dim 64, " in page and "unigram_output_bias True, " in page
    assert "  a processor.\n" in page
    assert "- the others: another processor.\n" in page
    results["tinyshakespeare/nanogpt"] = {"cold": 1.8857, "seconds": 91.2, "environment": "a processor"}
    results["tinyshakespeare/10/seed2"] = run_of(1.46, seed=2, units=256) | {"parameters": 1_000}
    page = tables.page(results)
    assert "| nanoGPT, CPU recipe | 91 |  |  |  |  | 1.8857 | 2.720 |" in page
    assert "| 616 | 1 x 256 to 512 | 1,000 to 1,219,201 | 2,001 |" in page
    assert "cell lstm, units 256 to 512, layers 1, embedding_dim 64, " in page


def test_what_is_committed_agrees_with_what_was_measured():
    """The page, and in the README the losses of every row whose name is there."""
    results = json.loads(quality.RESULTS.read_text())
    avx2 = json.loads(AVX2.read_text())
    for path, some in ((quality.RESULTS, results), (AVX2, avx2)):
        assert path.with_suffix(".md").read_text() == tables.page(some)
    readme = (Path(__file__).parents[1] / "README.md").read_text().split("## What minutes buy")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in readme.replace("*", "").splitlines()]
    described = Path(__file__).parents[1].joinpath("docs", "recipe.md").read_text()
    losses = {name: [number for number in numbers if number] for name, *numbers in rows}
    for some, processor, all_minutes in ((results, "", runs.MINUTES), (avx2, ", AVX2", (1.5, 10.0))):
        runs_of = tables.repeated(some, "tinyshakespeare")
        for minutes, records in runs_of.items():
            parameters = dict.fromkeys(f"{record['parameters'] / 1e6:.2f}" for record in records)
            means = [f"{tables.mean(records, protocol):.4f}" for protocol in tables.PROTOCOLS]
            assert losses[f"`--minutes {minutes:g}`{processor}"] == [f"{' to '.join(sorted(parameters))} M", *means]
            sizes = [tables.span([record["settings"]["units"] for record in records])]
            sizes += [tables.span([record["parameters"] for record in records])]
            sizes += [tables.span([tables.mean(records, "updates")]), *means]
            assert f"| {processor.strip(', ') or 'AVX-512'} | {minutes:g} | {' | '.join(sizes)} |" in described
        assert set(runs_of) == set(all_minutes) and all(len(records) == 3 for records in runs_of.values())
    for key, name, record in tables.beside(results, "tinyshakespeare"):
        if name in losses:
            assert losses[name] == [f"{record[protocol]:.4f}" for protocol in tables.PROTOCOLS if protocol in record], (
                key
            )
    assert {"Kneser-Ney, 7-gram", "bzip2"} < set(losses)
    parts = tables.ablation_runs(results)
    whole = parts.pop(f"without {runs.NOTHING}")
    expected = {name: [f"{record['stream'] - whole['stream']:+.4f}"] for name, record in parts.items()}
    assert {name: numbers for name, numbers in losses.items() if name.startswith("without")} == expected
    assert len(expected) == 8
    of_ten = [record["stream"] for record in tables.repeated(results, "tinyshakespeare")[runs.ABLATION_MINUTES]]
    assert f"lie within {max(of_ten) - min(of_ten):.4f}" in readme
    names = tables.repeated(results, "names")[runs.NAMES_MINUTES]
    assert len(names) == 3
    of_names = f"**{tables.mean(names, 'loss'):.4f}**"
    assert f"{of_names} nats" in readme and of_names in described
    assert f"Kneser-Ney 6-gram {results['names/kneser-ney']['loss']:.4f}" in readme


def test_a_page_and_a_plot_need_no_runs(tmp_path):
    assert "nanoGPT" in tables.page({})
    quality_plot.plot({}, tmp_path / "plot.png")
    assert not list(tmp_path.iterdir())


def test_names_of_lines_make_room_for_each_other():
    axes = Figure().add_subplot()
    lines = [(loss, f"at {loss}", "red", ":") for loss in (1.52, 1.51, 1.53, 1.88)]
    quality_plot.reference_lines(axes, lines)
    names = {text.get_text(): text.xyann[1] for text in axes.texts}
    assert list(names) == ["at 1.51", "at 1.52", "at 1.53", "at 1.88"]
    assert np.diff(list(names.values())).min() > 0.015
    assert [text.xy[1] for text in axes.texts] == [1.51, 1.52, 1.53, 1.88]
    assert (names["at 1.51"], names["at 1.88"]) == (1.51, 1.88)
    assert axes.get_ylim()[0] < 1.51 < 1.88 < axes.get_ylim()[1]


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

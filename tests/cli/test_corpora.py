"""`tfcharlm train` on several sources and on lines: what it says and keeps, and runs that are resumed."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import BARN, SMALL, interrupt_at_evaluation

from tfcharlm.text import corpus_files, split_corpus
from tfcharlm.training import TrainingConfig, TrainingRun

RUN = [*SMALL, "--cell", "rnn", "--checkpoint-seconds", 1e-6]


@pytest.fixture
def animals(command, tmp_path):
    """A directory of eleven texts, a picture, and a list with an empty line, where `command` runs."""
    (tmp_path / "texts").mkdir()
    for i in range(11):
        (tmp_path / "texts" / f"{i}.txt").write_text(BARN[200 * i : 200 * i + 150 + i])
    (tmp_path / "texts" / "cow.png").write_bytes(b"\x89PNG")
    (tmp_path / "items.txt").write_text(BARN.replace(" said ", "\n\n"))
    return tmp_path


KINDS = {
    "documents": (["texts"], "trains on 1,392 tokens of 9 texts, holds out 2 whole texts"),
    "joined": (["texts", "items.txt", "--join"], "holds out the last "),
    "lines": (["items.txt", "--lines"], "drops 108 empty items, trains on "),
    "tunes": (["items.txt", "--lines", "--separator", r"\n\n"], "items, chosen by their SHA-256"),
    "standard input": (["-"], "standard input: 3,240 characters"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_any_source_resumes_bit_for_bit(command, animals, monkeypatch, light_exports, kind):
    """With ids on the disk, which are read in place."""
    monkeypatch.setattr(corpus_files, "IN_MEMORY", 0)
    corpus, said = KINDS[kind]
    text = BARN[:3240]

    def run(*options):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return command("train", *corpus, *RUN, "--steps", 12, *options)

    status, output, error = run("--name", "whole")
    assert (status, error) == (0, "") and said in output, output
    assert ("because they are not text: texts/cow.png." in output) == ("texts" in corpus)
    assert sorted(path.name for path in Path("saved_models/whole").iterdir()) == ["1", "checkpoints"]
    interrupt_at_evaluation(monkeypatch, 7)
    assert run("--name", "barn")[0] == 130
    text = "standard input is not read again\n"
    status, output, error = run("--name", "barn", "--resume")
    assert status == 0 and "the run resumes after step 6." in output, error
    versions = [Path("saved_models", name) for name in ("whole/1", "barn/2")]
    for one, other in zip(*map(light_exports, versions), strict=True):
        np.testing.assert_array_equal(one, other)
    curves = [list(csv.DictReader((v / "assets.extra/learning_curve.csv").read_text().splitlines())) for v in versions]
    assert [[row["tokens"] for row in curve] for curve in curves] == 2 * [[row["tokens"] for row in curves[0]]]
    training = json.loads(Path("saved_models/barn/2/assets.extra/training.json").read_text())
    assert training["corpus"] == (["texts", "items.txt"] if kind == "joined" else corpus[0])
    end = {"lines": "\n", "tunes": "\x1e"}.get(kind)
    assert (training.get("lines"), training.get("item_end")) == ((True, end) if end else (None, None))
    assert run("--name", "barn", "--resume")[1].startswith("The run is finished.") == (kind != "standard input")


@pytest.mark.slow
def test_a_source_that_has_changed_is_named(command, animals, monkeypatch, light_exports):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tfcharlm.commands.train._print_evaluation", interrupt)
    run = ["train", "texts", *RUN, "--steps", 24, "--name", "barn"]
    assert command(*run)[0] == 130
    with (animals / "texts" / "3.txt").open("a") as file:
        file.write("more")
    status, output, error = command(*run, "--resume")
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert "texts/3.txt was 153 bytes (SHA-256 " in error and "and is 157 bytes (SHA-256 " in error


@pytest.mark.slow
def test_the_curve_of_lines_counts_what_was_read(animals):
    """Every epoch has every item with its end, however many tokens a batch has."""
    split = split_corpus("items.txt", lines=True)
    run = TrainingRun(split, TrainingConfig(epochs=3, units=3, cell="rnn", embedding_dim=2, batch_size=7))
    result = run.train()
    items = sum(len(item) + 1 for item in BARN.replace(" said ", "\n\n").split("\n") if item)
    assert items == split.train.num_tokens + split.validation.num_tokens
    assert result.steps == 3 * -(-split.train.num_pieces // 7)
    assert result.history[-1].tokens == 3 * split.train.num_tokens
    assert all(one.tokens < other.tokens for one, other in zip(result.history, result.history[1:], strict=False))
    suggested = TrainingRun.with_suggested_size(split, {"minutes": 0.01, "units": 3, "cell": "rnn"}).config
    rows, tokens = suggested.batch_size, split.train.num_tokens / split.train.num_pieces
    assert rows == min(split.train.num_pieces // 8, int(4 * suggested.sequence_length / tokens))

"""`tfcharlm score`: what it prints, and what it refuses."""

import functools
import gzip
import io
import json
import re
import shutil
import sys

import numpy as np
import pytest
from helpers.command_line import BARN
from helpers.exported_directories import seal

import tfcharlm
from tfcharlm import DynamicEvaluation
from tfcharlm.commands.item_format import ItemFormat, item_format
from tfcharlm.text import Vocabulary


@pytest.fixture
def score(monkeypatch, command, model):
    """Runs `tfcharlm score ...` with the model of the tests, which is compiled already, in the place of the loaded."""
    monkeypatch.setattr("tfcharlm.commands.score.latest_version", lambda directory: directory)
    monkeypatch.setattr("tfcharlm.commands.score.item_format", lambda directory: None)
    monkeypatch.setattr("tfcharlm.commands.score.load_model", lambda directory: model)
    return functools.partial(command, "score", "saved_models/barn")


def test_score_prints_what_score_returns(exported, model, command, tmp_path):
    (tmp_path / "one.txt").write_text(BARN[:500])
    status, out, err = command("score", exported, tmp_path / "one.txt", "--text", "the old owl")
    assert (status, err) == (0, "")
    for line, text in zip(out.splitlines(), (BARN[:500], "the old owl"), strict=True):
        expected = model.score(text)
        assert f"{expected['bits_per_character']:.4f} bits per character" in line
        assert f"perplexity {expected['perplexity']:.2f}," in line
        assert f"{expected['log_probability']:.2f} nats for {expected['tokens']:,} tokens" in line


TEXT = "the old owl\nthe yes no\n\nthe big cat said yes to the pig\nowl owl owl"


def bits_per_line(model, text):
    """The bits of every line with its newline, by scores of the beginnings of the text."""
    lines = text.splitlines(keepends=True)
    nats = model.score(["".join(lines[: count + 1]) for count in range(len(lines))])["log_probability"]
    return [line.rstrip("\n") for line in lines], -np.diff(nats, prepend=0) / np.log(2), list(map(len, lines))


def test_lines_are_printed_as_a_table_with_the_most_surprising_first(score, model):
    status, output, error = score("--text", TEXT, "--by-line")
    summary, heading, *rows = output.splitlines()
    assert (status, error) == (0, "") and summary == score("--text", TEXT)[1].strip()
    assert heading == "Line  Bits/char  Text"
    lines, bits, lengths = bits_per_line(model, TEXT)
    order = np.argsort(-bits / lengths, kind="stable")
    assert rows == [f"{i + 1:>4}  {bits[i] / lengths[i]:>9.2f}  {lines[i]}" for i in order]


def test_only_the_most_surprising_lines_are_shown(score):
    whole = score("--text", BARN, "--by-line", "--show", 0)[1].splitlines()
    assert len(whole) == 2 + BARN.count("\n")
    assert score("--text", BARN, "--by-line")[1].splitlines() == [*whole[:22], "20 of 108 lines; --show 0 shows all."]
    assert score("--text", BARN, "--by-line", "--show", 3)[1].splitlines()[:-1] == whole[:5]
    assert score("--text", "", "--by-line")[1].count("\n") == 1


def test_a_line_of_a_text_is_no_command_to_a_terminal_and_no_markup(score, monkeypatch):
    text = "[bold]the[/bold] :owl:\x1b[31m\tthe\xa0owl" + "the " * 100
    known = tfcharlm.CharLM(Vocabulary.from_text(text + "\n"), [tfcharlm.RNNCell(2)], embedding_dim=2)
    monkeypatch.setattr("tfcharlm.commands.score.load_model", lambda directory: known)
    row = score("--text", text, "--by-line")[1].splitlines()[-1]
    assert row.endswith("  [bold]the[/bold] :owl:\\x1b[31m\\tthe\\xa0owl" + "the " * 100)
    # As wide as the terminal, with colors.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    row = score("--text", text, "--by-line")[1].splitlines()[-1]
    plain = re.sub(r"\x1b\[\d+m", "", row)
    assert plain != row and plain.endswith("  [bold]the[/bold] :owl:…") and len(plain) == 40


def test_json_is_one_object_for_each_text(score, model, tmp_path):
    (tmp_path / "é.txt").write_text(BARN[:500])
    status, output, error = score("é.txt", "--text", "the old owl", "--json")
    assert (status, error) == (0, "") and output.isascii()
    found = [json.loads(line) for line in output.splitlines()]
    assert found == [
        {"report": "score", "corpus": "é.txt", **model.score(BARN[:500])},
        {"report": "score", "text": "the old owl", **model.score("the old owl")},
    ]


def test_json_has_all_lines_in_the_order_of_the_text(score, model):
    (found,) = [json.loads(line) for line in score("--text", TEXT, "--by-line", "--show", 2, "--json")[1].splitlines()]
    lines, bits, lengths = bits_per_line(model, TEXT)
    assert [line["text"] for line in found["lines"]] == lines
    assert [line["line"] for line in found["lines"]] == [1, 2, 3, 4, 5]
    assert [line["characters"] for line in found["lines"]] == lengths
    np.testing.assert_allclose([line["bits"] for line in found["lines"]], bits, rtol=1e-4)
    np.testing.assert_allclose([line["bits_per_character"] for line in found["lines"]], bits / lengths, rtol=1e-4)
    total = model.score(TEXT)
    assert sum(line["bits"] for line in found["lines"]) == pytest.approx(
        -total["log_probability"] / np.log(2), rel=1e-6
    )
    assert found["bits_per_character"] == pytest.approx(total["bits_per_character"], rel=1e-6)


def test_a_model_that_adapts_learns_from_each_text_anew_or_from_all(score, model, monkeypatch):
    texts = [BARN[:700], "the old owl", BARN[:700]]
    arguments = [part for text in texts for part in ("--text", text)]
    made = []
    make = "tfcharlm.commands.score.DynamicEvaluation"
    monkeypatch.setattr(make, lambda model: made.append(DynamicEvaluation(model)) or made[-1])
    fresh, carried = (
        [json.loads(line) for line in score(*arguments, "--adapt", *more, "--json", "--by-line")[1].splitlines()]
        for more in ([], ["--carry"])
    )
    assert len(made) == 2
    assert fresh[0] == fresh[2] and fresh[0]["log_probability"] == carried[0]["log_probability"]
    assert carried[2]["log_probability"] > fresh[2]["log_probability"]
    reader = DynamicEvaluation(model)
    for text, line in zip(texts, carried, strict=True):
        assert line["log_probability"] == pytest.approx(reader.read(text).sum(), rel=1e-6)
        assert sum(one["bits"] for one in line["lines"]) == pytest.approx(-line["log_probability"] / np.log(2))


def test_a_number_that_is_not_finite_is_null(score, monkeypatch):
    model = tfcharlm.CharLM(Vocabulary("ab\n"), [tfcharlm.RNNCell(2)], embedding_dim=2)
    model.head.bias.assign([np.nan, 0, 0])
    monkeypatch.setattr("tfcharlm.commands.score.load_model", lambda directory: model)
    status, output, _ = score("--text", "ab", "--by-line", "--json")
    found = json.loads(output, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert status == 0 and found["perplexity"] is None and found["tokens"] == 2
    assert found["lines"] == [{"line": 1, "bits_per_character": None, "bits": None, "characters": 2, "text": "ab"}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no text was given; type the path of a text file"),
        (["missing.txt"], "missing.txt"),
        (["--text", "owl", "--carry"], "--carry is for a model that learns while it reads; type --adapt --carry."),
        (["--text", "the owl 7", "--by-line"], "'the owl 7': character '7' (U+0037) at position 8"),
        (["--text", "the owl 7"], "'the owl 7': character '7' (U+0037) at position 8"),
    ],
)
def test_score_refuses_in_one_line(score, arguments, message):
    status, out, err = score(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_score_takes_what_train_takes(score, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, text in enumerate(("the owl\n", "the old pig\n")):
        (tmp_path / f"{number}.txt.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"yes no\n"), "utf-8"))
    found = [json.loads(line) for line in score("-", "*.gz", tmp_path, "--json")[1].splitlines()]
    texts = {"-": "yes no\n", "0.txt.gz": "the owl\n", "1.txt.gz": "the old pig\n"}
    assert [(line["corpus"], line["bits_per_character"]) for line in found] == [
        (name, pytest.approx(model.score(text)["bits_per_character"])) for name, text in texts.items()
    ], "each once"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"yes no\n"), "utf-8"))
    assert score("-")[1].startswith("standard input: ")
    status, _, error = score("none*.txt")
    assert (status, error) == (2, "tfcharlm: no file matches 'none*.txt'\n")


def test_items_are_scored_one_by_one_as_they_are_in_training(score, model, monkeypatch):
    monkeypatch.setattr("tfcharlm.commands.score.item_format", lambda directory: ItemFormat("\n", "\n"))
    items = ["the old owl", "owl", "the yes no pig"]
    expected = model.score([f"{item}\n" for item in items])
    nats = expected["log_probability"]
    arguments = ["--text", "the old owl\n\nowl\nthe yes no pig", "--json"]
    for by_line in ([], ["--by-line"]):
        [found] = [json.loads(line) for line in score(*arguments, *by_line)[1].splitlines()]
        characters = sum(len(item) + 1 for item in items)
        assert found["log_probability"] == pytest.approx(nats.sum())
        assert found["bits_per_character"] == pytest.approx(-nats.sum() / np.log(2) / characters)
        assert found["tokens"] == characters
        assert found["perplexity"] == pytest.approx(np.exp(-nats.sum() / characters))
        assert ("lines" in found) == bool(by_line)
    assert [(line["line"], line["text"], line["characters"]) for line in found["lines"]] == [
        (number, item, len(item) + 1) for number, item in enumerate(items, 1)
    ]
    np.testing.assert_allclose([line["bits"] for line in found["lines"]], -nats / np.log(2), rtol=1e-5)
    [nothing] = [json.loads(line) for line in score("--text", "\n", "--json")[1].splitlines()]
    assert (nothing["tokens"], nothing["perplexity"]) == (0, 1)


@pytest.mark.slow
def test_from_items_that_are_longer_than_a_segment_a_model_learns(score, model, monkeypatch):
    monkeypatch.setattr("tfcharlm.commands.score.item_format", lambda directory: ItemFormat("\n\n", "\n"))
    items = [BARN[:200].rstrip("\n"), "owl", BARN[200:400].strip("\n")]
    arguments = ["--text", "\n\n".join(items), "--adapt", "--by-line", "--json"]
    [found] = [json.loads(line) for line in score(*arguments)[1].splitlines()]
    reader = DynamicEvaluation(model)
    nats = [reader.read(f"{item}\n").sum() for item in items]
    np.testing.assert_allclose([line["bits"] for line in found["lines"]], -np.array(nats) / np.log(2), rtol=1e-4)
    assert found["log_probability"] == pytest.approx(sum(nats), rel=1e-5)
    assert [line["text"] for line in found["lines"]] == items


@pytest.mark.parametrize("separator", ["\r\n\r\n", "\n\n"])
def test_items_are_cut_where_training_cuts_them(exported, tmp_path, separator):
    """By its record, in which a separator is as it was typed; whatever ends the lines of a text."""
    directory = shutil.copytree(exported, tmp_path / "1")
    record = {"lines": True, "separator": separator, "item_end": "\x1e"}
    (directory / "assets.extra" / "training.json").write_text(json.dumps(record))
    seal(directory)
    found = item_format(directory)
    assert list(found.items("a\nb\r\n\r\nc\n\n")) == ["a\nb", "c"]
    words = Vocabulary.from_text("to be\n", "word")
    assert (found.scored_end(words), found.scored_end(Vocabulary("ab\n"))) == ("", "\x1e"), "a word would take it"

"""`tfcharlm sample` and `score`: what they print, and what they refuse."""

import re
import sys

import pytest
from helpers.command_line import BARN

import tfcharlm
from tfcharlm import cli


def test_sample_prints_what_generate_returns(exported, model, command, barn):
    """And reports what is copied, beside the samples: standard output is theirs alone."""
    arguments = ["--prompt", "the old", "--length", 50, "--seed", 3, "--novelty", barn]
    status, output, error = command("sample", exported.parent, *arguments)
    assert (status, output) == (0, model.generate("the old", 50, 0.8, seed=3) + "\n")
    report = tfcharlm.novelty_report(output.removeprefix("the old")[:-1], BARN)
    assert error == f"{report}\n"


def test_sample_numbers_several_samples(exported, command):
    status, output, error = command("sample", exported, "--length", 9, "--seed", 3, "--count", 2, "--temperature", 0)
    assert (status, error) == (0, "")
    assert re.fullmatch(r"--- 1 of 2 ---\n.{9}\n--- 2 of 2 ---\n.{9}\n", output, re.DOTALL)


BAD_SAMPLE = {
    "unseen character": (
        ["--prompt", "the Żubr"],
        r"prompt: character 'Ż' \(U\+017B\) at position 4 .*; a model",
    ),
    "negative temperature": (
        ["--temperature", "-1"],
        r"--temperature must be a number from 0 .*; received -1.0",
    ),
    "temperature nan": (["--temperature", "nan"], r"temperature must be a number from 0 .*; received nan"),
    "temperature no number": (["--temperature", "hot"], r"--temperature.*'hot' is not a valid float"),
    "negative length": (["--length", "-1"], r"--length must be a whole number from 0 to 2147483647; received -1"),
    "top_p": (["--top-p", "0"], r"--top-p must be a number above 0"),
    "top_p that is 0 in float32": (["--top-p", "1e-50"], r"--top-p must be a number above 0"),
    "length": (["--length", "99999999999"], r"--length must be a whole number from 0 to 2147483647"),
    "half a character": (["--prompt", "a\udcff"], r"--prompt must be UTF-8; received b'a\\xff'"),
    "no samples": (["--count", "0"], r"--count must be a whole number from 1 up; received 0"),
}


@pytest.mark.parametrize("case", BAD_SAMPLE)
def test_sample_refuses_in_one_line(exported, command, case):
    arguments, message = BAD_SAMPLE[case]
    status, output, error = command("sample", exported, *arguments)
    assert (status, output) == (2, "")
    assert re.search(message, error)
    assert error.count("\n") == 1 and error.startswith("tfcharlm: ")


@pytest.mark.parametrize("kind", ["missing", "empty directory", "file"])
def test_sample_refuses_what_is_no_model(command, tmp_path, kind):
    path = tmp_path / "model"
    if kind == "empty directory":
        path.mkdir()
    if kind == "file":
        path.write_text("x")
    status, output, error = command("sample", path)
    assert (status, output) == (2, "")
    assert "saved_models/shakespeare" in error and error.count("\n") == 1


def test_score_prints_what_score_returns(exported, model, command, tmp_path):
    (tmp_path / "one.txt").write_text(BARN[:500])
    status, out, err = command("score", exported, tmp_path / "one.txt", "--text", "the old owl")
    assert (status, err) == (0, "")
    for line, text in zip(out.splitlines(), (BARN[:500], "the old owl"), strict=True):
        expected = model.score(text)
        assert f"{expected['bits_per_character']:.4f} bits per character" in line
        assert f"perplexity {expected['perplexity']:.2f}," in line
        assert f"{expected['log_probability']:.2f} nats for {expected['tokens']:,} tokens" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no text was given; type the path of a text file"),
        (["missing.txt"], "missing.txt"),
        (["--text", "the owl 7"], "'the owl 7': character '7' (U+0037) at position 8"),
    ],
)
def test_score_refuses_in_one_line(exported, command, arguments, message):
    status, out, err = command("score", exported, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_full_disk_is_one_line(exported, command, monkeypatch):
    def echo(*arguments, **named):
        if not named.get("err"):
            raise OSError(28, "No space left on device")
        print(*arguments, file=sys.stderr)

    monkeypatch.setattr(cli.click, "echo", echo)
    status, _, error = command("sample", exported)
    assert (status, error) == (2, "tfcharlm: [Errno 28] No space left on device\n")

"""`tfcharlm score`: what it prints, and what it refuses."""

import pytest
from helpers.command_line import BARN


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

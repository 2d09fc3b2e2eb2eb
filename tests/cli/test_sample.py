"""`tfcharlm sample`: what it prints, where a sample ends, and what it refuses."""

import functools
import io
import json
import re
import shutil
import sys

import pytest
from helpers.command_line import BARN
from helpers.exported_directories import seal

import tfcharlm
from tfcharlm.text import Vocabulary


@pytest.fixture(scope="session")
def items(exported, tmp_path_factory):
    """The same model with a record that says that it was trained on lines."""
    directory = tmp_path_factory.mktemp("items") / "1"
    shutil.copytree(exported, directory)
    (directory / "assets.extra" / "training.json").write_text('{"corpus": "barn.txt", "lines": true}')
    seal(directory)
    return directory


@pytest.fixture
def sample(monkeypatch, command, model):
    """Runs `tfcharlm sample ...` with the model of the tests, which is compiled already, in the place of the loaded."""
    monkeypatch.setattr("tfcharlm.commands.sample.load_model", lambda directory: model)
    return functools.partial(command, "sample")


@pytest.fixture
def standard_input(monkeypatch):
    """Gives bytes to the next command."""
    return lambda raw: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), "utf-8"))


def json_lines(output):
    """The objects in the lines of an output, in strict JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert output.isascii() and output.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in output.splitlines()]


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


def test_sample_ends_before_the_first_stop_text(exported, model, sample):
    whole = model.generate("the old", 200, 0.8, seed=3)
    first, later = whole[40:43], whole[60:62]
    for stops in ([first], [later, first], ["never\n\n"]):
        typed = [word for stop in stops for word in ("--stop", stop)]
        found = sample(exported, "--prompt", "the old", "--length", 200, "--seed", 3, *typed)
        rest = whole.removeprefix("the old")
        end = min(rest.find(stop) % (len(rest) + 1) for stop in stops)
        assert found == (0, f"the old{rest[:end]}\n", "")


@pytest.mark.parametrize("lines", [1, 2, 5])
def test_sample_ends_after_whole_lines(exported, model, sample, lines):
    status, output, error = sample(exported, "--prompt", "the", "--lines", lines, "--seed", 4, "--count", 2)
    texts = [model.generate("the", 400 * lines, 0.8, seed=seed).split("\n")[:lines] for seed in (4, 5)]
    assert [len(text) for text in texts] == [lines, lines], "the model of this test must write newlines"
    headings = [f"--- {number} of 2 ---" for number in (1, 2)] if lines > 1 else []
    expected = [line for number, text in enumerate(texts) for line in [*headings[number : number + 1], *text]]
    assert (status, output.splitlines(), error) == (0, expected, "")


def test_a_sample_that_is_cut_says_so(exported, items, model, sample):
    whole = model.generate("", 30, 0.8, seed=3)
    arguments = ["--seed", 3, "--length", 30, "--lines", 9]
    note = "1 of 1 samples ended by --length 30, before the end of a line.\n"
    assert sample(exported, *arguments) == (0, whole + "\n", note)
    (line,) = json_lines(sample(exported, *arguments, "--json")[1])
    assert (line["text"], line["tokens"], line["finish_reason"]) == (whole, 30, "length")
    assert sample(items, "--seed", 3, "--length", 0) == (0, "\n", note.replace("30", "0"))


def test_a_model_that_was_trained_on_lines_writes_items(items, model, sample):
    """Each ends before its newline and is a sample with a seed of its own, with --lines as with --count."""
    expected = model.generate([""] * 5, 400, 0.8, seed=7, stop="\n")
    for arguments in (["--count", 5], ["--lines", 5], ["--lines", 5, "--count", 1]):
        assert sample(items, "--seed", 7, *arguments) == (0, "".join(f"{t}\n" for t in expected), "")
    status, output, _ = sample(items, "--seed", 7, "--lines", 2, "--count", 2, "--json")
    assert status == 0
    assert [(line["text"], line["finish_reason"]) for line in json_lines(output)] == [(t, "stop") for t in expected[:4]]


def test_stop_texts_replace_the_end_of_an_item_unless_lines_are_wanted(items, model, sample):
    stop = model.generate("", 400, 0.8, seed=7).partition("\n")[2][2:4]
    arguments = ["--seed", 7, "--stop", stop]
    assert sample(items, *arguments)[1] == model.generate("", 400, 0.8, seed=7, stop=stop) + "\n"
    expected = model.generate("", 400, 0.8, seed=7, stop=[stop, "\n"])
    assert sample(items, *arguments, "--lines", 1)[1] == expected + "\n"


def test_items_may_end_with_another_character(items, model, sample, tmp_path):
    directory = shutil.copytree(items, tmp_path / "1")
    (directory / "assets.extra" / "training.json").write_text('{"lines": true, "item_end": "e"}')
    seal(directory)
    assert sample(directory, "--seed", 7) == (0, model.generate("", 400, 0.8, seed=7, stop="e") + "\n", "")


@pytest.mark.parametrize("record", ['{"lines": false}', "{}", '{"lines": "yes"}', None])
def test_without_the_record_no_line_is_an_item(items, model, sample, tmp_path, record):
    directory = shutil.copytree(items, tmp_path / "1")
    path = directory / "assets.extra" / "training.json"
    path.unlink() if record is None else path.write_text(record)
    seal(directory)
    expected = model.generate("", 400, 0.8, seed=7) + "\n"
    assert sample(directory, "--seed", 7) == (0, expected, "")


def test_a_damaged_record_is_one_line(items, sample, tmp_path):
    directory = shutil.copytree(items, tmp_path / "1")
    (directory / "assets.extra" / "training.json").write_text('{"lines": NaN}')
    seal(directory)
    status, output, error = sample(directory)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert "training.json is not strict JSON: NaN is not a number in JSON" in error


def test_sample_gives_a_script_all_that_makes_the_text_again(exported, model, sample, barn):
    """Nothing else is on standard output, also with a report; without --seed, the seeds are those that were drawn."""
    arguments = ["--prompt", "the", "--count", 3, "--length", 60, "--top-k", 5, "--json", "--novelty", barn]
    status, output, error = sample(exported, *arguments)
    lines = json_lines(output)
    assert status == 0 and len(lines) == 3 and "longest copy" in error
    first = lines[0]["seed"]
    for row, line in enumerate(lines):
        expected = model.generate("the", 60, 0.8, 5, seed=first + row).removeprefix("the")
        settings = {"seed": first + row, "temperature": 0.8, "top_k": 5, "top_p": 1.0}
        found = {"report": "sample", "prompt": "the", "text": expected}
        assert line == found | {"tokens": 60, "finish_reason": "length"} | settings
    again = sample(exported, *arguments, "--seed", first)[1]
    assert again == output and sample(exported, *arguments)[1] != output


def test_json_says_where_a_sample_ended(exported, model, sample):
    arguments = ["--seed", 3, "--json"]
    whole = model.generate("", 400, 0.8, seed=3)
    (by_line,) = json_lines(sample(exported, *arguments, "--lines", 2)[1])
    text = "\n".join(whole.split("\n")[:2])
    assert (by_line["text"], by_line["tokens"], by_line["finish_reason"]) == (text, len(text), "lines")
    (by_stop,) = json_lines(sample(exported, *arguments, "--stop", whole[9:12])[1])
    text = whole.partition(whole[9:12])[0]
    assert (by_stop["text"], by_stop["tokens"], by_stop["finish_reason"]) == (text, len(text), "stop")


def test_a_prompt_is_read_from_a_file_or_from_standard_input(exported, model, sample, standard_input, tmp_path):
    """As a corpus is: without a byte order mark, and with the newlines of the model. The last newline is there, too."""
    raw, prompt = "\ufeffthe old cat said no\r\nthe\rthe\n".encode(), "the old cat said no\nthe\nthe\n"
    (tmp_path / "prompt.txt").write_bytes(raw)
    expected = 0, model.generate(prompt, 50, 0.8, seed=3) + "\n", ""
    assert sample(exported, "--length", 50, "--seed", 3, "--prompt-file", "prompt.txt") == expected
    standard_input(raw)
    assert sample(exported, "--length", 50, "--seed", 3, "--prompt-file", "-") == expected


def test_a_prompt_that_is_not_utf8_is_refused_or_replaced(exported, sample, standard_input, tmp_path):
    (tmp_path / "prompt.txt").write_bytes(b"the\xff")
    for file in ("prompt.txt", "-"):
        for errors, message in (("strict", "0xff at offset 3"), ("replace", r"U\+FFFD\) at position 3")):
            standard_input(b"the\xff")
            status, output, error = sample(exported, "--prompt-file", file, "--errors", errors)
            assert (status, output, error.count("\n")) == (2, "", 1)
            assert re.search(message, error)


def test_a_closed_standard_input_is_one_line(exported, sample, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    status, output, error = sample(exported, "--prompt-file", "-")
    assert (status, output, error.count("\n")) == (2, "", 1) and "--prompt-file - needs a standard input" in error


def test_lines_need_a_newline_to_end_them(exported, command, monkeypatch):
    model = tfcharlm.CharLM(Vocabulary("ab"), [tfcharlm.RNNCell(2)])
    monkeypatch.setattr("tfcharlm.commands.sample.load_model", lambda directory: model)
    status, _, error = command("sample", exported, "--prompt", "a", "--lines", 3)
    assert (status, error.count("\n")) == (2, 1) and "--lines needs a model with a newline in its vocabulary" in error


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
    "no lines": (["--lines", "0"], r"--lines must be a whole number from 1 to 1000000; received 0"),
    "empty stop": (["--stop", ""], r"--stop must have at least one character; received an empty text"),
    "two prompts": (["--prompt", "", "--prompt-file", "-"], r"give either --prompt or --prompt-file; received both"),
    "no prompt file": (["--prompt-file", "none.txt"], r"no file 'none.txt'"),
    "seed of the last sample": (
        ["--seed", 2**63 - 1, "--count", "2"],
        r"--seed must be an integer of 64 bits.*; received 9223372036854775808",
    ),
    "no samples": (["--count", "0"], r"--count must be a whole number from 1 up; received 0"),
}


@pytest.mark.parametrize("case", BAD_SAMPLE)
def test_sample_refuses_in_one_line(exported, sample, case):
    arguments, message = BAD_SAMPLE[case]
    status, output, error = sample(exported, *arguments)
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


def test_a_full_disk_is_one_line(exported, command, monkeypatch):
    def echo(*arguments, **named):
        if not named.get("err"):
            raise OSError(28, "No space left on device")
        print(*arguments, file=sys.stderr)

    monkeypatch.setattr("click.echo", echo)
    status, _, error = command("sample", exported)
    assert (status, error) == (2, "tfcharlm: [Errno 28] No space left on device\n")


@pytest.mark.slow
def test_a_model_that_spells_takes_any_prompt(command, tmp_path):
    model = tfcharlm.CharLM(tfcharlm.text.Vocabulary.from_text("to be\n"), [tfcharlm.GRUCell(5)])
    exported = model.export(tmp_path / "m" / "1")
    prompt = "\u017b\U0001f600 be"
    drawn = ["--length", 30, "--seed", 2, "--temperature", 1]
    status, output, error = command("sample", exported, "--prompt", prompt, *drawn)
    assert (status, error) == (0, "")
    assert output == model.generate(prompt, 30, seed=2) + "\n"

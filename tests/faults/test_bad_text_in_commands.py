"""Bad text in every command, what cannot be written, and characters that few programs expect."""

import contextlib
import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.bad_text import CONTENTS, LEVELS, PLAIN, read_by_python

import tfcharlm
from tfcharlm.text import Vocabulary, encode_file


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of bytes, which knows every text."""
    directory = tmp_path_factory.mktemp("model") / "bytes" / "1"
    return tfcharlm.CharLM(Vocabulary.from_text("a", "byte"), [tfcharlm.LSTMCell(3)], 2).export(directory)


COMMANDS = {
    "score": lambda model: ["score", model, "bad.txt"],
    "sample": lambda model: ["sample", model, "--length", "9", "--novelty", "bad.txt"],
    "units": lambda model: ["plot", "units", model, "--corpus", "bad.txt", "--unit", "0", "--output", "units.html"],
    "gates": lambda model: ["plot", "gates", model, "--corpus", "bad.txt", "--output", "gates.html"],
    "surprise": lambda model: ["plot", "surprise", model, "bad.txt"],
    "gradients": lambda model: ["plot", "gradients", model, "--corpus", "bad.txt", "--window", "3"],
}


@pytest.mark.parametrize("program", COMMANDS)
def test_every_command_refuses_or_replaces(command, model, program):
    arguments = COMMANDS[program](model)
    Path("bad.txt").write_bytes(PLAIN + b"\xc3(\n")
    status, output, error = command(*arguments)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert f"byte 0xc3 at offset {len(PLAIN)}, line 3; its encoding is not known: convert it with iconv -f" in error
    assert '--errors "replace"' in error
    status, output, error = command(*arguments, "--errors", "replace")
    assert status == 0 and output
    if program == "score":
        assert f"nats for {len(PLAIN) + len(chr(0xFFFD).encode()) + 2} tokens" in output


def test_a_name_that_cannot_be_printed_is_printed_as_far_as_it_can(command, model):
    Path("caf\udce9.txt").write_bytes(PLAIN)
    status, output, error = command("score", model, "caf\udce9.txt")
    assert (status, error) == (0, "") and output.startswith("caf\ufffd.txt: ")


def test_tune_refuses_or_replaces(reads):
    Path("bad.txt").write_bytes(PLAIN + b"\xff")
    assert reads("tune", "bad.txt") == (None, reads("train", "bad.txt")[1])
    assert reads("tune", "bad.txt", "--errors", "replace")[0] == PLAIN.decode() + "\ufffd"
    assert "'ignore' is not one of 'strict', 'replace'" in reads("tune", "bad.txt", "--errors", "ignore")[1]


def refusing(code):
    def refuse(*arguments, **named):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("when", ["open", "write", "replace"])
def test_ids_that_cannot_be_written_leave_the_old_ones(tmp_path, monkeypatch, code, when):
    text, ids = tmp_path / "text.txt", tmp_path / "ids.npy"
    text.write_bytes(PLAIN)
    vocabulary = Vocabulary.from_text(PLAIN.decode())
    before = encode_file(text, vocabulary, ids).tolist()
    with monkeypatch.context() as patch:
        if when == "write":
            patch.setattr(np.lib.format, "write_array_header_1_0", refusing(code))
        else:
            patch.setattr(Path, when, refusing(code))
        with pytest.raises(OSError, match=rf"ids\.npy cannot be written: {os.strerror(code)}$"):
            encode_file(text, vocabulary, ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.npy", "text.txt"]
    assert np.load(ids).tolist() == before


@contextlib.contextmanager
def room_for(size):
    """Files of at most so many bytes: a limit of the system's own, no imitation of it."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_ids_that_do_not_fit_leave_nothing(tmp_path):
    (tmp_path / "text.txt").write_bytes(PLAIN * 1000)
    vocabulary = Vocabulary.from_text(PLAIN.decode())
    with room_for(1000), pytest.raises(OSError, match=r"ids\.npy cannot be written: File too large$"):
        encode_file(tmp_path / "text.txt", vocabulary, tmp_path / "ids.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("program", ["units", "gates", "surprise", "gradients"])
def test_a_picture_that_does_not_fit_leaves_nothing(command, model, program):
    Path("bad.txt").write_bytes(PLAIN)
    with room_for(1000):
        status, _, error = command(*COMMANDS[program](model))
    assert status == 2 and re.fullmatch(r"tfcharlm: \w+\.\w+ cannot be written: File too large\n", error)
    assert [path.name for path in Path().iterdir()] == ["bad.txt"]


@pytest.mark.parametrize("text", ["\ud83d", "a\udcff", "\ude00\ud83d", "to be\n\udfff"])
def test_halves_of_surrogate_pairs_are_refused_wherever_they_come_in(command, model, text):
    """The command line makes them of arguments that are not UTF-8."""
    loaded = tfcharlm.load_model(model)
    for use in (loaded.generate, loaded.score, loaded.next_token_probabilities, Vocabulary.from_text):
        with pytest.raises(ValueError, match=r"half of a surrogate pair") as caught:
            use(text)
        assert str(caught.value).isprintable()
    for arguments in (
        ["sample", model, "--prompt", text],
        ["score", model, "--text", text],
        ["plot", "units", model, "--text", text],
        ["plot", "gates", model, "--text", text],
        ["plot", "gradients", model, "--text", text],
    ):
        status, output, error = command(*arguments)
        assert (status, output, error.count("\n")) == (2, "", 1)


AWKWARD = "".join(
    text for name in (
        "NUL", "every control character", "separators that are no lines", "non-characters", "private use",
        "combining characters", "right to left", "joiners", "above U+FFFF", "least of each length", "markup",
    ) if (text := read_by_python(CONTENTS[name], "strict")[0])
)  # fmt: skip


@pytest.fixture(params=LEVELS)
def awkward(request, command):
    """`awkward.txt` and, in saved_models, a model that was trained on it, of this level."""
    Path("awkward.txt").write_text(AWKWARD * 2, "utf-8", newline="")
    settings = {
        "steps": 2,
        "units": 4,
        "batch-size": 2,
        "sequence-length": 5,
        "level": request.param,
        "name": "awkward",
    }
    options = (part for name, value in settings.items() for part in (f"--{name}", value))
    assert command("train", "awkward.txt", *options)[::2] == (0, "")
    return request.param


@pytest.mark.slow
def test_an_artefact_of_awkward_characters_agrees_with_its_model(command, awkward):
    artefact, model = tf.saved_model.load("saved_models/awkward/1"), tfcharlm.load_model("saved_models/awkward")
    if awkward != "byte":
        assert set("".join(model.vocabulary.tokens)) == set(AWKWARD)
    prompt = AWKWARD if awkward == "word" else AWKWARD[:50] + "\0"
    settings = {"max_length": 40, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": np.array([3])}
    written = artefact.signatures["generate"](
        prompts=tf.constant([prompt]), **{name: tf.constant(value) for name, value in settings.items()}
    )
    assert written["text"].numpy()[0].decode() == model.generate(prompt, max_length=40, seed=3)
    expected = model.score(AWKWARD)
    scored = artefact.signatures["score"](texts=tf.constant([AWKWARD]))
    assert scored["log_probability"].numpy()[0] == pytest.approx(expected["log_probability"], rel=1e-5)
    assert command("inspect", "saved_models/awkward")[0] == 0


@pytest.mark.slow
def test_every_command_takes_awkward_characters(command, awkward):
    for program in COMMANDS:
        arguments = COMMANDS[program]("saved_models/awkward")
        arguments[arguments.index("bad.txt")] = "awkward.txt"
        status, _, error = command(*arguments)
        assert (status, error.startswith("1 texts") if program == "sample" else error == "") == (0, True), program


@pytest.mark.parametrize("ending", ["png", "html"])
def test_a_character_that_no_font_has_is_drawn(command, model, recwarn, ending):
    status, _, error = command("plot", "gates", model, "--text", AWKWARD, "--show", 50, "--output", f"gates.{ending}")
    assert (status, error) == (0, "")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]

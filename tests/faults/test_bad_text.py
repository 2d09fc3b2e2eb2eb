"""Files that are no plain text in UTF-8: each is read to the last character, or refused in one line with status 2."""

import codecs
import contextlib
import errno
import io
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import cli
from tfcharlm.cli.errors import UserError, one_line_errors
from tfcharlm.text import Vocabulary, encode_file, files, load_corpus, read_chunks, text_file
from tfcharlm.text.codec import GraphCodec

LEVELS = ("char", "byte", "word")
PLAIN = b"to be or not to be, that is\nthe question\n"


def read_by_python(data, errors):
    """The text that a file of these bytes has, by Python's own decoder; or what a line about it must say."""
    wide = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
    if data.startswith(wide):
        return None, r"begins with the byte order mark of UTF-(16|32); type iconv -f utf-\1 "
    try:
        text = data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = len(re.findall("\r\n|\r|\n", data[: error.start].decode())) + 1
        return None, rf"is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}, line {line}; "
    text = re.sub("\r\n?", "\n", text.removeprefix("\ufeff"))
    return (text, None) if text.strip() else (None, "has no text: (it is empty|nothing but white space)")


# -- named files

CONTENTS = {
    # Nearly nothing
    "empty": b"",
    "one byte": b"a",
    "two bytes": b"ab",
    "one symbol": b"a" * 500,
    "one line": b"to be " * 5000,
    "one word": b"a" * 5000,
    "a newline": b"\n",
    "newlines": b"\n" * 500,
    "spaces": b" " * 500,
    "white space": b" \t\r\n\v\f\x1c\x1d\x1e\x1f\x85",
    "no-break spaces": "\u00a0\u2003\u3000".encode() * 100,
    "line separators alone": "\u2028\u2029\u0085".encode() * 100,
    # Marks
    "mark of UTF-8": codecs.BOM_UTF8 + PLAIN,
    "mark of UTF-8 alone": codecs.BOM_UTF8,
    "mark of UTF-8 and a newline": codecs.BOM_UTF8 + b"\n",
    "two marks of UTF-8": 2 * codecs.BOM_UTF8 + PLAIN,
    "mark of UTF-8 in the middle": PLAIN + codecs.BOM_UTF8 + PLAIN,
    "one byte of the mark": codecs.BOM_UTF8[:1],
    "two bytes of the mark": codecs.BOM_UTF8[:2],
    "two bytes of the mark, then text": codecs.BOM_UTF8[:2] + PLAIN,
    "mark of UTF-16 LE": codecs.BOM_UTF16_LE + PLAIN.decode().encode("utf-16-le"),
    "mark of UTF-16 BE": codecs.BOM_UTF16_BE + PLAIN.decode().encode("utf-16-be"),
    "mark of UTF-16 alone": codecs.BOM_UTF16_LE,
    "mark of UTF-16 before UTF-8": codecs.BOM_UTF16_BE + PLAIN,
    "mark of UTF-32 LE": codecs.BOM_UTF32_LE + PLAIN.decode().encode("utf-32-le"),
    "mark of UTF-32 BE": codecs.BOM_UTF32_BE + PLAIN.decode().encode("utf-32-be"),
    "mark of UTF-32 alone": codecs.BOM_UTF32_BE,
    # Other encodings without a mark
    "UTF-16 LE": "th\u00e9 \u017c\u00f3\u0142w\n".encode("utf-16-le") * 20,
    "UTF-16 BE": "th\u00e9 \u017c\u00f3\u0142w\n".encode("utf-16-be") * 20,
    "UTF-16 that is UTF-8 with NULs": PLAIN.decode().encode("utf-16-le"),
    "UTF-32 LE": "th\u00e9\n".encode("utf-32-le"),
    "Latin-1": "caf\u00e9, th\u00e9\n".encode("latin-1"),
    "Windows-1252": "\u201cto be\u201d\n".encode("cp1252"),
    "KOI8-R": "\u0431\u044b\u0442\u044c\n".encode("koi8-r"),
    "Shift JIS": "\u751f\u304d\u308b\n".encode("shift-jis"),
    "GB 18030": "\u751f\u5b58\n".encode("gb18030"),
    "EBCDIC": "to be\n".encode("cp500"),
    "UTF-7": "th\u00e9\n".encode("utf-7"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x2b\xc9\x57\x48\x4a\xe5\x02\x00",
    "PNG": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    # No UTF-8
    "lone continuation": b"a\x80b",
    "byte FE": b"a\xfeb",
    "byte FF": b"a\xffb",
    "byte FF after lines of CR LF": b"a\r\nb\r\n\xff",
    "byte FF after lines of CR": b"a\rb\r\xff",
    "byte FF at the end": PLAIN + b"\xff",
    "byte FF far behind": PLAIN * 26_000 + b"\xff" + PLAIN,
    "overlong slash": b"a\xc0\xafb",
    "overlong NUL": b"a\xc0\x80b",
    "overlong of three bytes": b"a\xe0\x80\xafb",
    "overlong of four bytes": b"a\xf0\x80\x80\xafb",
    "two bytes cut to one": b"a\xc3",
    "three bytes cut to two": b"a\xe2\x80",
    "four bytes cut to three": b"a\xf0\x9f\x98",
    "four bytes cut to three, then text": b"a\xf0\x9f\x98b",
    "half a surrogate pair": b"a\xed\xa0\xbdb",
    "other half of a surrogate pair": b"a\xed\xb8\x80b",
    "surrogate pair (CESU-8)": b"a\xed\xa0\xbd\xed\xb8\x80b",
    "above U+10FFFF": b"a\xf4\x90\x80\x80b",
    "five bytes": b"a\xf8\x88\x80\x80\x80b",
    "six bytes": b"a\xfc\x84\x80\x80\x80\x80b",
    # UTF-8 of which a program may think that it knows better
    "NUL": b"a\0b\n\0\0",
    "NULs alone": b"\0" * 500,
    "NUL at the end": PLAIN + b"\0",
    "NUL at the beginning": b"\0" + PLAIN,
    "every control character": bytes(range(32)) + b"\x7f" + PLAIN,
    "C1 control characters": "".join(map(chr, range(0x80, 0xA0))).encode() + PLAIN,
    "escape sequences": b"\x1b[31mred\x1b[0m \x1b]0;title\x07\n",
    "end of file of DOS": PLAIN + b"\x1a",
    "backspaces": b"b\x08a",
    "lines of CR LF": b"a\r\nb\r\n\r\n",
    "lines of CR": b"a\rb\r\r",
    "every kind of line": b"a\nb\r\nc\rd\n\re\r\r\nf",
    "CR at the end": b"a\r",
    "separators that are no lines": "a\u2028b\u2029c\u0085d\ve\ff\x1cg".encode(),
    "non-characters": "a\ufdd0\ufdef\ufffe\uffff\U0001fffe\U0010ffffb".encode(),
    "private use": "a\ue000\uf8ff\U000f0000\U0010fffdb".encode(),
    "not assigned": "a\u0378\U000e0fffb".encode(),
    "replacement characters": "a\ufffd\ufffdb".encode(),
    "combining characters": ("a" + "\u0301\u0327\u20dd" * 200).encode(),
    "composed and decomposed": "\u00e9e\u0301 \u212b\u00c5A\u030a".encode(),
    "right to left": "\u202eabc\u202c \u200f\u05d0\u05d1 \u2066x\u2069".encode(),
    "joiners": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u200b\u2060\u00ad".encode(),
    "flags and skin": "\U0001f1f5\U0001f1f1 \U0001f44d\U0001f3fd".encode(),
    "tags and variation selectors": "a\ufe0f\ufe0e\U000e0061\U000e0100".encode(),
    "above U+FFFF": "\U00010348\U0001f600\U00020000".encode() * 50,
    "case and its pitfalls": "\u0130\u0131\u00df\u1e9e\ufb01\u01c5".encode(),
    "greatest of each length": "\x7f\u07ff\uffff\U0010ffff".encode(),
    "least of each length": "\x00\u0080\u0800\U00010000".encode(),
    "markup": b"<script>alert('&amp;')</script> [bold]x[/] {0} %s $HOME `ls` \\x41\n",
}


class StopError(ValueError):
    """As far as a test needs it."""


@pytest.fixture
def reads(command, monkeypatch):
    """Runs `tfcharlm train` or `tune` until the text is read: (text or None, the line that is said then)."""
    read = []

    def read_and_stop(*arguments, **named):
        read.append(load_corpus(*arguments, **named))
        raise StopError("read")

    monkeypatch.setattr(cli.train, "load_corpus", read_and_stop)
    monkeypatch.setattr(cli.tune, "load_corpus", read_and_stop)

    def run(program, *arguments):
        read.clear()
        status, output, error = command(program, "--steps", 1, "--name", "model", *arguments)
        assert (status, output, error.count("\n")) == (2, "", 1)
        assert error.startswith("tfcharlm: ") and "Traceback" not in error
        return (read[0] if read else None), error

    return run


@pytest.mark.parametrize("name", CONTENTS)
def test_a_named_file_is_read_whole_or_refused_in_one_line(reads, tmp_path, name):
    (tmp_path / "bad.txt").write_bytes(CONTENTS[name])
    for errors in ("strict", "replace"):
        text, wrong = read_by_python(CONTENTS[name], errors)
        read, error = reads("train", "bad.txt", "--errors", errors)
        assert read == text, errors
        assert re.match(rf"tfcharlm: bad\.txt {wrong}" if wrong else "tfcharlm: read\n", error)
        for level in LEVELS if text else ():
            vocabulary = Vocabulary.from_text(text, level)
            assert vocabulary.decode(vocabulary.encode(text)) == text, level


def test_the_named_files_are_many_and_of_every_kind():
    kinds = [read_by_python(data, "strict")[1] or "text" for data in CONTENTS.values()]
    assert len(CONTENTS) + len(PATHS) >= 80
    for kind in ("text", "is not UTF-8", "has no text", "byte order mark"):
        assert sum(kind in said for said in kinds) >= 5


@pytest.mark.parametrize("level", LEVELS)
def test_named_texts_have_the_same_ids_in_a_graph(level):
    texts = [text for data in CONTENTS.values() if (text := read_by_python(data, "replace")[0])]
    # The one that is large is large for what it is in a file.
    assert_same_ids_in_a_graph([text for text in texts if len(text) < 50_000], level)


def assert_same_ids_in_a_graph(texts, level):
    vocabulary = Vocabulary(sorted(set().union(*(Vocabulary.from_text(t, level).tokens for t in texts))), level)
    codec = GraphCodec(vocabulary)
    ids = codec.encode(tf.constant(texts))
    rows = np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_array_equal(row, vocabulary.encode(text), err_msg=repr(text))
        assert vocabulary.decode(row) == text
    assert codec.decode(ids[:1].to_tensor()).numpy().tolist() == [texts[0].encode()]


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv, which the message says to type")
@pytest.mark.parametrize(
    "name", ["mark of UTF-16 LE", "mark of UTF-16 BE", "mark of UTF-32 LE", "UTF-16 LE", "UTF-16 BE", "Latin-1"]
)
def test_what_is_typed_makes_the_file_utf8(reads, tmp_path, name):
    (tmp_path / "my bad.txt").write_bytes(CONTENTS[name])
    _, error = reads("train", "my bad.txt")
    subprocess.run(re.search(r"type (iconv .* > utf8\.txt)", error)[1], shell=True, check=True)
    wide = "utf-32" if "32" in name else "utf-16-be" if "BE" in name else "utf-16-le" if "16" in name else "latin-1"
    assert load_corpus("utf8.txt") == CONTENTS[name].decode(wide).removeprefix("\ufeff")


def test_what_is_typed_does_not_empty_the_file_that_it_reads(reads):
    for name, data in (("utf8.txt", b"\xff"), ("utf8.txt", codecs.BOM_UTF16_LE)):
        Path(name).write_bytes(data)
        assert " utf8.txt > utf8-2.txt" in reads("train", name)[1]


# -- files that are no files, and names

PATHS = {
    "missing": (lambda: "missing.txt", r"no file 'missing\.txt', and no corpus of that name"),
    "below a file": (lambda: "plain.txt/below", r"no file 'plain\.txt/below'"),
    "directory": (lambda: ".", r"\. is a directory; expected one text file"),
    "FIFO": (lambda: os.mkfifo("bad.txt"), r"bad\.txt is not a regular file; write"),
    "link to a FIFO": (lambda: (os.mkfifo("fifo"), Path("bad.txt").symlink_to("fifo")), "is not a regular file"),
    "device": (lambda: "/dev/null", "/dev/null is not a regular file"),
    "device without end": (lambda: "/dev/zero", "/dev/zero is not a regular file"),
    "socket": (lambda: bind("bad.txt"), r"bad\.txt cannot be read: "),
    "dangling link": (lambda: Path("bad.txt").symlink_to("gone"), r"no file 'bad\.txt', only a link to 'gone'"),
    "circular link": (lambda: Path("bad.txt").symlink_to("bad.txt"), "cannot be read: Too many levels"),
    "long name": (lambda: "n" * 300, r"n{300} cannot be read: File name too long"),
    "long path": (lambda: "n/" * 4000, "cannot be read: File name too long"),
    "no name": (lambda: "", "expected a path or one of the corpora"),
    "missing name of two lines": (lambda: "two\nlines", r"no file 'two\\nlines'"),
    "missing name of no characters": (lambda: "\udcff", r"no file '\\udcff'"),
    "missing name of other surrogates": (lambda: "\ud83d", r"no file '\\ud83d'"),
    "missing pattern": (lambda: "*.txt", r"no file '\*\.txt'"),
    "home": (lambda: "~/bad.txt", "no file '~/bad.txt'"),
    "address": (lambda: "https://example.org/text.txt", "no file 'https://example.org/text.txt'"),
}
NAMES = [
    "two\nlines", "bell\a", "\udce9t\udce9", "[bold]x[red].txt", "*?.txt", "quote's\".txt", "\\.txt", " ", "-",
    "\u202etxt.bad", "n" * 255, "\U0001f600", "{0}%s$HOME", "./names",
]  # fmt: skip


def bind(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


@pytest.mark.parametrize("name", PATHS)
def test_what_is_no_text_file_is_refused_at_once(reads, name):
    make, message = PATHS[name]
    Path("plain.txt").write_bytes(PLAIN)
    path = make()
    read, error = reads("train", path if isinstance(path, str) else "bad.txt")
    assert read is None and re.search(message, error)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_a_file_may_have_any_name(reads, name):
    for data in (PLAIN, b"\xff", b"", codecs.BOM_UTF16_LE):
        Path(name).write_bytes(data)
        text, wrong = read_by_python(data, "strict")
        read, error = reads("train", "--", name)
        assert read == text
        assert re.search(wrong or "read", error)
        assert [c for c in error if not c.isprintable()] == ["\n"]


def test_a_file_that_may_not_be_read_is_named(reads, monkeypatch):
    Path("bad.txt").write_bytes(PLAIN)
    for code in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.EIO):

        def refuse(path, flags, code=code):
            raise OSError(code, os.strerror(code), path)

        monkeypatch.setattr(text_file, "_without_waiting", refuse)
        assert reads("train", "bad.txt") == (None, f"tfcharlm: bad.txt cannot be read: {os.strerror(code)}\n")


def test_a_disk_that_fails_while_it_is_read_is_named(reads, monkeypatch):
    monkeypatch.setattr(files, "PART", 10)
    Path("bad.txt").write_bytes(PLAIN)

    class Failing(io.BufferedReader):
        def read(self, size=-1):
            if self.tell() >= 20:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    whole = text_file._open
    monkeypatch.setattr(text_file, "_open", lambda name: Failing(whole(name).detach()))
    assert reads("train", "bad.txt") == (
        None, "tfcharlm: bad.txt cannot be read after 20 bytes: Input/output error\n"
    )  # fmt: skip


# -- files that change


def grow(path):
    with path.open("ab") as file:
        file.write(PLAIN)


def rewrite(path):
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(0, 1))  # two writes within a tick of the file system's clock look alike


CHANGES = {
    "grows": grow,
    "is cut": lambda path: os.truncate(path, 14),
    "is cut within a character": lambda path: os.truncate(path, 9),
    "is emptied": lambda path: os.truncate(path, 0),
    "is written anew": rewrite,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("after", [1, 2])
def test_a_file_that_changes_while_it_is_read_is_refused(reads, monkeypatch, change, after):
    monkeypatch.setattr(files, "PART", 8)
    path = Path("bad.txt")
    path.write_bytes("to be \u00e9\u00e9 or not to be\n".encode() * 3)
    whole, count = text_file.TextFile.read, []

    def read(file, size):
        raw = whole(file, size)
        count.append(raw)
        if len(count) == after:
            CHANGES[change](path)
        return raw

    monkeypatch.setattr(text_file.TextFile, "read", read)
    assert reads("train", "bad.txt") == (
        None, "tfcharlm: bad.txt has changed while it was read; type the same again when it is complete\n"
    )  # fmt: skip


def test_a_bad_file_that_changes_while_its_lines_are_counted_is_refused(reads, monkeypatch):
    Path("bad.txt").write_bytes(PLAIN * 9 + b"\xff")
    line = text_file.TextFile.line
    monkeypatch.setattr(
        text_file.TextFile, "line", lambda *arguments: (os.truncate("bad.txt", 3), line(*arguments))[1]
    )  # fmt: skip
    assert "has changed while it was read" in reads("train", "bad.txt")[1]


@pytest.mark.parametrize("change", [lambda new, old: new.replace(old), lambda new, old: old.unlink()])
def test_a_file_that_is_replaced_or_removed_is_read_as_it_was(tmp_path, monkeypatch, change):
    monkeypatch.setattr(files, "PART", 8)
    old, new = tmp_path / "text.txt", tmp_path / "new.txt"
    old.write_bytes(PLAIN)
    new.write_bytes(PLAIN[::-1])
    parts = read_chunks(old)
    first = next(parts)
    change(new, old)
    assert first + "".join(parts) == PLAIN.decode()


# -- every command


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
    "gradients": lambda model: ["plot", "gradients", model, "--corpus", "bad.txt", "--window", "3"],
}


@pytest.mark.parametrize("program", COMMANDS)
def test_every_command_refuses_or_replaces(command, model, program):
    arguments = COMMANDS[program](model)
    Path("bad.txt").write_bytes(PLAIN + b"\xc3(\n")
    status, output, error = command(*arguments)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert f"byte 0xc3 at offset {len(PLAIN)}, line 3; type iconv -f latin1 -t utf-8 bad.txt > utf8.txt" in error
    status, output, error = command(*arguments, "--errors", "replace")
    assert status == 0 and output
    if program == "score":
        assert f"nats of {len(PLAIN) + len(chr(0xFFFD).encode()) + 2} tokens" in output


def test_a_name_that_cannot_be_printed_is_printed_as_far_as_it_can(command, model):
    Path("caf\udce9.txt").write_bytes(PLAIN)
    status, output, error = command("score", model, "caf\udce9.txt")
    assert (status, error) == (0, "") and output.startswith("caf\ufffd.txt: ")


def test_tune_refuses_or_replaces(reads):
    Path("bad.txt").write_bytes(PLAIN + b"\xff")
    assert reads("tune", "bad.txt") == (None, reads("train", "bad.txt")[1])
    assert reads("tune", "bad.txt", "--errors", "replace")[0] == PLAIN.decode() + "\ufffd"
    assert "'ignore' is not one of 'strict', 'replace'" in reads("tune", "bad.txt", "--errors", "ignore")[1]


# -- what cannot be written


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


@pytest.mark.parametrize("program", ["units", "gates", "gradients"])
def test_a_picture_that_does_not_fit_leaves_nothing(command, model, program):
    Path("bad.txt").write_bytes(PLAIN)
    with room_for(1000):
        status, _, error = command(*COMMANDS[program](model))
    assert status == 2 and re.fullmatch(r"tfcharlm: \w+\.\w+ cannot be written: File too large\n", error)
    assert [path.name for path in Path().iterdir()] == ["bad.txt"]


# -- strings and characters in Python


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


# -- large files


@pytest.mark.slow
def test_one_line_of_a_gigabyte_takes_little_more_memory_than_its_text_and_ids(tmp_path):
    path, size = tmp_path / "line.txt", 1 << 30
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(b"abcdefgh" * (1 << 17))
    tracemalloc.start()
    try:
        text = load_corpus(path)
        assert len(text) == size and tracemalloc.get_traced_memory()[1] < 2.05 * size
        text, size = text[: size // 16], size // 16
        tracemalloc.reset_peak()
        ids = Vocabulary("abcdefgh").encode(text)
        # The text, an int32 and a comparison a character, and what is being looked up.
        assert len(ids) == size and tracemalloc.get_traced_memory()[1] < (1 + 4 + 1) * size + (1 << 25)
    finally:
        tracemalloc.stop()


# -- random bytes

SEPARATORS = ("\ufeff", "\r", "\n", "\r\n", "\u2028", "\x85", "\v", "\f", "\0", "\x1c", "a")
ALPHABETS = ((0x20, 0x7F), (0xA0, 0x180), (0x400, 0x460), (0x4E00, 0x9FFF), (0x1F300, 0x1F650), (0x0, 0x10FFFF))
WRONG = (
    b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\x80", b"\xbf\xbf",
)  # fmt: skip


def characters(draw):
    low, high = draw.choice(ALPHABETS)
    text = "".join(chr(draw.randint(low, high)) for _ in range(draw.randint(0, 20)))
    return text.encode("utf-8", "ignore").decode()


def damaged(draw):
    data = bytearray(characters(draw).encode())
    for _ in range(draw.randint(0, 3)):
        place = draw.randint(0, len(data))
        data[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
    return bytes(data)


def mixed(draw, pieces):
    """Valid text with some of the pieces in it."""
    return b"".join(
        draw.choice((characters(draw).encode()[:6], draw.choice(pieces))) for _ in range(draw.randint(1, 5))
    )


def surrogates(draw):
    return mixed(draw, [chr(draw.randint(0xD800, 0xDFFF)).encode("utf-8", "surrogatepass") for _ in range(2)])


def cut(draw):
    return mixed(
        draw, [chr(draw.randint(0x80, 0xD7FF)).encode()[:-1], chr(draw.randint(0x10000, 0x10FFFF)).encode()[:-1]]
    )


DRAWS = {
    "uniform": lambda draw: draw.randbytes(draw.randint(0, 40)),
    "damaged": damaged,
    "ascii": lambda draw: bytes(draw.choices(range(128), k=draw.randint(0, 40))),
    "separators": lambda draw: "".join(draw.choices(SEPARATORS, k=draw.randint(0, 12))).encode(),
    "wide": lambda draw: characters(draw).encode(draw.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32"])),
    "overlong": lambda draw: mixed(draw, WRONG),
    "surrogates": surrogates,
    "cut": cut,
}


def random_bytes(draw, count):
    return [DRAWS[name](draw) for name, _ in zip(sorted(DRAWS) * count, range(count), strict=False)]


@pytest.fixture(params=[2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def strings(request, rng):
    return random_bytes(random.Random(int(rng.integers(2**32))), request.param)


def test_random_bytes_in_a_file_are_read_whole_or_refused_in_one_line(strings, tmp_path, monkeypatch):
    path = tmp_path / "random.txt"
    outcomes = []
    for number, data in enumerate(strings):
        monkeypatch.setattr(files, "PART", 1 + number % 13)
        path.write_bytes(data)
        for errors in ("strict", "replace"):
            text, wrong = read_by_python(data, errors)
            if text is None:
                with pytest.raises(UserError) as caught, one_line_errors():
                    load_corpus(path, errors)
                assert caught.value.exit_code == 2 and str(caught.value).isprintable()
                assert re.search(f"random.txt {wrong}", str(caught.value)), data
            else:
                assert load_corpus(path, errors) == text, data
            outcomes.append((errors, text is None))
    for outcome in (("strict", True), ("strict", False), ("replace", True), ("replace", False)):
        assert outcomes.count(outcome) > len(strings) / 100


@pytest.mark.parametrize("level", LEVELS)
def test_random_texts_have_the_same_ids_in_a_graph(strings, level):
    for begin in range(0, len(strings), 4000):
        # Every other one at most is valid; the others are read with U+FFFD, as with --errors replace.
        texts = [text for data in strings[begin : begin + 4000] if (text := data.decode("utf-8", "replace"))]
        assert_same_ids_in_a_graph(texts, level)


def test_random_bytes_are_bytes_in_a_graph(strings):
    codec = GraphCodec(Vocabulary.from_text("a", "byte"))
    for begin in range(0, len(strings), 4000):
        part = tf.constant(strings[begin : begin + 4000])
        ids = codec.encode(part)
        assert ids.flat_values.numpy().astype(np.uint8).tobytes() == b"".join(part.numpy())
        np.testing.assert_array_equal(ids.row_lengths(), [len(data) for data in part.numpy()])
        # What a model of bytes writes is shown as Python shows it.
        assert codec.valid(part).numpy().tolist() == [data.decode("utf-8", "replace").encode() for data in part.numpy()]


@pytest.mark.parametrize("level", ["char", "word"])
def test_random_bytes_that_are_no_text_are_refused_in_a_graph(strings, level):
    codec = GraphCodec(Vocabulary.from_text("a\ufffd", level))
    encode = tf.function(codec.encode, input_signature=[tf.TensorSpec([1], tf.string)], autograph=False)
    # Both levels look at the bytes in the same way, and an error takes a millisecond.
    for data in strings if level == "char" else strings[::3]:
        try:
            data.decode()
        except UnicodeDecodeError:
            with pytest.raises(tf.errors.InvalidArgumentError, match="not valid UTF-8: row"):
                encode([data])

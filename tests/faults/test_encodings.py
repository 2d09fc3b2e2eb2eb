"""Texts that are not UTF-8: what a line says to type gives the text back, or the line says that it does not know."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tfcharlm.text import encoding_guess, files, load_corpus, refusals
from tfcharlm.text.encoding_guess import guess_encoding
from tfcharlm.text.encodings import SIGNATURES, wide_encoding

SENTENCES = {
    "Chinese": "人工智能是未来的希望，我们热爱学习。",
    "Chinese in Taiwan": "繁體中文測試文字，今天的天氣很好，我們去學校。",
    "Japanese": "これは日本語の文章です。",
    "Korean": "안녕하세요 세계",
    "Russian": "Привет, мир! Это текст.",
    "Ukrainian": "Їжак і ґава живуть у лісі біля річки.",
    "Greek": "Καλημέρα κόσμε, το κείμενο είναι εδώ.",
    "Hebrew": "שלום עולם, זה טקסט בעברית",
    "Arabic": "مرحبا بالعالم، هذا نص عربي",
    "Turkish": "İstanbul şehri çok güzel, değil mi?",
    "Polish": "Zażółć gęślą jaźń, proszę bardzo.",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Latvian": "Glāžšķūņa rūķīši dzērumā čiepj Baha koncertflīģeļu vākus.",
    "French": "élève à la plage, où il était déjà",
    "more French": "élève à la plage",
    "Chinese in few characters": "繁體中文測試文字",
    "German": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich",
    "Swedish": "Flygande bäckasiner söka hwila på mjuka tuvor",
    "Portuguese": "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim",
    "quotes": "naïve “quotes” – dash € 5",
    "boxes": "│box│ é ñ",
    "one accent": "a café and a résumé",
    "Thai": "สวัสดีชาวโลก นี่คือข้อความ",
    "Vietnamese": "Tiếng Việt có dấu",
}
ENCODINGS = """
    gbk gb18030 big5 cp950 shift_jis cp932 euc_jp euc_kr cp949 johab iso2022_jp iso2022_kr hz utf-7
    cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 koi8_r koi8_u cp866 cp874
    latin_1 iso8859_2 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9 iso8859_13 iso8859_15
    cp437 cp850 cp852 cp775 mac_roman mac_cyrillic mac_greek mac_latin2 mac_turkish cp037 cp500 cp1026
    utf-16 utf-16-le utf-16-be utf-32 utf-32-le utf-32-be
""".split()  # noqa: SIM905
# These are valid ASCII without anything that gives them away.
HIDDEN = ("hz", "utf-7")
needs_iconv = pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv, which the line says to type")


def texts_in(encoding):
    for name, sentence in SENTENCES.items():
        text = f"{sentence}\n" * 50
        try:
            if text.encode(encoding).decode(encoding) == text:
                yield name, text
        except UnicodeError:
            continue


def refused(data):
    """The line about a file of these bytes, and the text that its command gives, None without a command."""
    Path("t.txt").write_bytes(data)
    with pytest.raises(ValueError) as error:
        load_corpus("./t.txt")
    line = str(error.value)
    assert "\n" not in line and len(line) < 300
    command = re.search(r"type (iconv .*? > \S+) and load (\S+?)(,|$)", line)
    if command is None:
        return line, None
    subprocess.run(command[1], shell=True, check=True)
    return line, load_corpus(command[2])


@needs_iconv
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_advice_gives_the_text_back_or_there_is_none(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    for name, text in texts_in(encoding):
        data = text.encode(encoding)
        if encoding in HIDDEN or data == text.encode():
            continue
        line, given = refused(data)
        assert given in (None, text), name
        if encoding.startswith(("utf", "iso2022")):
            what = encoding[:6].upper() if encoding.startswith("utf") else encoding.upper().replace("ISO", "ISO-")
            assert given == text and what.replace("_", "-") in line, name
        elif given is None:
            assert "its encoding is not known: convert it with iconv -f ENCODING " in line, name


@needs_iconv
def test_common_encodings_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {
        "gbk": "Chinese", "gb18030": "Chinese", "shift_jis": "Japanese", "euc_jp": "Japanese",
        "koi8_r": "Russian", "cp866": "Russian", "cp1254": "Turkish", "latin_1": "more French",
    }  # fmt: skip
    for encoding, name in known.items():
        text = f"{SENTENCES[name]}\n" * 50
        assert refused(text.encode(encoding))[1] == text, encoding


# A character for every sequence of bytes.
SEQUENCES = [bytes(pair) for pair in itertools.product(range(0x80, 0x100), range(0x30, 0x100))]


@needs_iconv
@pytest.mark.parametrize("codec", [*encoding_guess.MULTIBYTE, *encoding_guess.SINGLE_BYTE])
def test_python_and_iconv_read_the_same(codec):
    """In every encoding that a line names, every character that may be in a text."""
    sequences = [bytes([byte]) for byte in range(0x20, 0x100)] + SEQUENCES * (codec in encoding_guess.MULTIBYTE)
    characters = {}
    for sequence in sequences:
        text = sequence.decode(codec, "replace")
        is_one = len(text) == 1 and text != "\ufffd" and text.encode(codec) == sequence
        if is_one and encoding_guess.is_text(text) and not encoding_guess.differs_in_iconv(text, codec):
            characters[sequence] = text
    assert len(characters) > (5000 if codec in encoding_guess.MULTIBYTE else 140)
    name = (encoding_guess.MULTIBYTE | encoding_guess.SINGLE_BYTE)[codec]
    data = b"\n".join(characters)
    read = subprocess.run(["iconv", "-f", name, "-t", "utf-8"], input=data, capture_output=True, check=True).stdout
    assert read.decode().split("\n") == list(characters.values())


# -- UTF-16 and UTF-32 without a mark

PLAIN = "to be or not to be, that is\nthe question\n"
UTF8_WITH_NULS = {
    "NULs alone": b"\0" * 500,
    "NULs between words": PLAIN.encode().replace(b" ", b"\0"),
    "NULs between names": b"\0".join(b"name%d.txt" % number for number in range(999)),
    "names of three letters": b"\0".join(bytes(name) for name in itertools.product(b"abcd", b"efghi", b"jk")),
    "NULs at the end": PLAIN.encode() + b"\0" * 99,
    "NULs at the start": b"\0" * 99 + PLAIN.encode(),
    "a NUL in every line": (PLAIN.encode() + b"\0") * 999,
    "two NULs after every letter": b"".join(bytes([letter, 0, 0]) for letter in PLAIN.encode()),
    "Chinese with NULs": (SENTENCES["Chinese"] + "\0").encode() * 99,
    "every control character": bytes(range(32)) + b"\x7f" + PLAIN.encode(),
}


@pytest.mark.parametrize("name", UTF8_WITH_NULS)
def test_utf8_with_nuls_is_read(tmp_path, name):
    (tmp_path / "t.txt").write_bytes(UTF8_WITH_NULS[name])
    assert load_corpus(tmp_path / "t.txt") == UTF8_WITH_NULS[name].decode().replace("\r", "\n")


@pytest.mark.parametrize("errors", ["strict", "replace"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf16_that_is_valid_utf8_is_refused_and_not_read_as_nuls(tmp_path, encoding, errors):
    data = PLAIN.encode(encoding)
    assert data.decode()
    (tmp_path / "t.txt").write_bytes(data)
    name = encoding[:6].upper()
    with pytest.raises(ValueError, match=rf"looks like {name} without a byte order mark; type iconv -f {name.lower()}"):
        load_corpus(tmp_path / "t.txt", errors)


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_inside_a_text_is_refused_and_no_command_is_given(tmp_path, order, monkeypatch):
    """As of a program that appends to a file in another encoding."""
    text = PLAIN * 100_000
    cut = 2 << 20
    data = text[:cut].encode() + text.encode(f"utf-16-{order}")
    (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(ValueError, match=rf"looks like UTF-16 without a byte order mark from offset {cut}, and like"):
        load_corpus(tmp_path / "t.txt")


def test_parts_are_aligned_by_their_offset():
    data = PLAIN.encode("utf-16-le") * 9
    for offset in range(9):
        assert wide_encoding(data[offset:], offset) == "utf-16le"


# -- other files


@pytest.mark.parametrize("start", SIGNATURES)
def test_a_file_that_is_not_text_is_named(tmp_path, start, rng):
    for path, data in (("t.txt", start + rng.bytes(5000) + b"\xff"), ("short", start + b"\xff")):
        (tmp_path / path).write_bytes(data)
        with pytest.raises(ValueError, match=rf"it begins like {SIGNATURES[start]}, so give the text that is in it$"):
            load_corpus(tmp_path / path)


def test_programs_and_images_of_this_machine_are_refused_in_one_line(tmp_path):
    import sys

    import numpy as np

    np.save(tmp_path / "a.npy", np.zeros(10_000))
    for path in (Path(sys.executable).resolve(), tmp_path / "a.npy"):
        with pytest.raises(ValueError) as error:
            load_corpus(path)
        assert re.search(r"begins like|its encoding is not known", str(error.value))


def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path):
    data = ("\n".join(SENTENCES.values()) * 20).encode()
    for damaged in (data[:-1] + b"\xff", data[:500] + b"\xff" + data[500:], data.replace("é".encode(), b"\xe9")):
        (tmp_path / "t.txt").write_bytes(damaged)
        with pytest.raises(ValueError, match="most of it is UTF-8, so it is damaged; repair it, or type errors="):
            load_corpus(tmp_path / "t.txt")


# -- large files


def test_what_fits_the_sample_and_not_the_file_is_not_advised(tmp_path, monkeypatch):
    """A guess is verified with every byte: one character that the encoding does not have is enough."""
    text = f"{SENTENCES['Japanese']}\n" * 50_000
    data = text.encode("euc_jp")
    assert guess_encoding(data[:2000]).codec == "euc_jp"
    for place in (len(data) // 3 // 25 * 25, len(data)):
        (tmp_path / "t.txt").write_bytes(data[:place] + b"\xff\n" + data[place:])
        with pytest.raises(ValueError, match="its encoding is not known"):
            load_corpus(tmp_path / "t.txt")


@pytest.mark.parametrize("chunk", [7, 64])
def test_characters_that_are_cut_between_parts_are_whole(tmp_path, monkeypatch, chunk):
    for module in (files, refusals):
        monkeypatch.setattr(module, "CHUNK", chunk)
    for encoding in ("euc_jp", "gb18030", "utf-16-le", "iso2022_jp"):
        text = f"{SENTENCES['Chinese' if encoding == 'gb18030' else 'Japanese']}\n" * 30
        (tmp_path / "t.txt").write_bytes(text.encode(encoding))
        with pytest.raises(ValueError, match="; type iconv -f"):
            load_corpus(tmp_path / "t.txt")


def test_one_long_line_is_known_too(tmp_path):
    data = (SENTENCES["Russian"] + " ").encode("koi8_r") * 5000
    (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(ValueError, match="it looks like KOI8-R; type iconv -f koi8-r"):
        load_corpus(tmp_path / "t.txt")


def test_escape_sequences_of_terminals_are_text(tmp_path):
    text = "\x1b[31mred\x1b[0m \x1b$ \x1b$B no Japanese\n" * 3
    (tmp_path / "t.txt").write_text(text)
    assert load_corpus(tmp_path / "t.txt") == text

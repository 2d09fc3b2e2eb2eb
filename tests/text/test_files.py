"""Text files in chunks, damaged or not, and their ids on the disk."""

import codecs
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfcharlm.text import (
    Vocabulary,
    encode_file,
    files,
    load_corpus,
    read_chunks,
)
from tfcharlm.text.batches import release_pages


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab \n\r\t\f\u00e9\u2028\U0001f600"), min_size=1), part=st.integers(1, 9))
def test_parts_of_a_file_joined_are_the_file(text, part, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "parts.txt"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    expected = re.sub("\r\n?", "\n", text)
    before, files.CHUNK = files.CHUNK, part
    try:
        parts = list(read_chunks(path))
    finally:
        files.CHUNK = before
    assert "".join(parts) == expected and all(parts)


@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_a_file_in_parts_has_the_ids_of_its_text(level, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(files, "CHUNK", 50)
    words = ["to", "be", "caf\u00e9", "it's", ",", "!", "\n", "\r\n", "  ", "\t"]
    text = " ".join(rng.choice(words, size=400))
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    text = text.replace("\r\n", "\n")
    vocabulary = Vocabulary.from_text(read_chunks(path), level)
    assert vocabulary == Vocabulary.from_text(text, level)
    ids = encode_file(path, vocabulary, tmp_path / "ids.npy")
    assert isinstance(ids, np.memmap) and ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, vocabulary.encode(text))
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), ids)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.npy", "text.txt"]


def test_ids_take_two_bytes_when_one_is_not_enough(tmp_path):
    alphabet = "".join(map(chr, range(0x4E00, 0x4E00 + 257)))
    (tmp_path / "text.txt").write_text(alphabet, "utf-8")
    ids = encode_file(tmp_path / "text.txt", Vocabulary.from_text(alphabet), tmp_path / "ids.npy")
    assert ids.dtype == np.uint16 and ids.tolist() == list(range(257))


def test_what_a_file_has_wrong_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 8)
    path, out = tmp_path / "text.txt", tmp_path / "ids.npy"
    path.write_text("aba ab\nab a\nb z ab\n")
    vocabulary = Vocabulary("ab \n")
    with pytest.raises(
        ValueError, match=r"text\.txt: character 'z' \(U\+007A\) in line 3 is not in the vocabulary of 4"
    ):
        encode_file(path, vocabulary, out)
    assert vocabulary.decode(encode_file(path, vocabulary, out, errors="ignore")) == "aba ab\nab a\nb  ab\n"
    path.write_bytes(b"ab a\n" * 4 + b"a\xffb\n")
    with pytest.raises(ValueError, match=r"byte 0xff at offset 21, line 5; "):
        encode_file(path, vocabulary, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.npy", "text.txt"]


def test_changes_of_a_private_mapping_are_not_forgotten(tmp_path):
    np.save(tmp_path / "ids.npy", np.zeros(10, np.uint8))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="c")
    mapped[3] = 7
    release_pages(mapped[1:])
    assert mapped[3] == 7


STREAM = """
import os, resource, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = memory()
from tfcharlm.text import Vocabulary, encode_file, read_chunks, stream_dataset
text, ids = sys.argv[1:]
vocabulary = Vocabulary.from_text(read_chunks(text))
ids = encode_file(text, vocabulary, ids)
rows, length = 64, 4096
last, steps = None, 0
stretch = (len(ids) - 1) // (rows * length) * length
for x, y in stream_dataset(ids, rows, length):
    tokens, targets = x["tokens"].numpy(), y.numpy()
    if last is None:
        assert all((tokens[i] == ids[i * stretch : i * stretch + length]).all() for i in range(rows))
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    assert last is None or (tokens[:, 0] == last).all()
    last, steps = targets[:, -1], steps + 1
assert steps == (len(ids) - 1) // (rows * length)
print(len(ids), steps, before, memory())
"""


@pytest.mark.slow
def test_two_gigabytes_stream_through_little_memory(tmp_path, rng):
    """The most that the process ever had in memory; `import tensorflow` alone is 600 MB, most of them its libraries."""
    part = rng.integers(ord("a"), ord("z") + 1, size=2**20).astype(np.uint8)
    part[rng.random(2**20) < 0.2] = ord(" ")
    text = tmp_path / "text.txt"
    with text.open("wb") as file:
        for _ in range(2**11):
            file.write(np.roll(part, rng.integers(2**20)).tobytes())
    command = [sys.executable, "-c", STREAM, text, tmp_path / "ids.npy"]
    output = subprocess.run(command, capture_output=True, check=True).stdout.split()
    length, steps, before, most = map(int, output)
    print(f"{length:,} ids in {steps:,} batches; with TensorFlow {before:,} KiB, at most {most:,} KiB")
    assert length == 2**31 and most - before < 200_000


PIECES = [
    b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\r", b"\n", b"a", b" ", b"\0", "\U0001f600".encode(), b"\xf0\x9f",
    "\u2028".encode(), b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80", b"\xff",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES)), part=st.integers(1, 7))
def test_parts_of_a_damaged_file_are_what_python_makes_of_it(pieces, part, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.txt"
    data = b"".join(pieces)
    # NULs at every other place are UTF-16 or UTF-32 without a mark, which test_encodings.py is about.
    assume(b"\0" not in data)
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", part)
        replaced = data.decode("utf-8", "replace").removeprefix("\ufeff")
        assert "".join(read_chunks(path, errors="replace")) == re.sub("\r\n?", "\n", replaced)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            with pytest.raises(ValueError, match=f" 0x{data[error.start]:02x} at offset {error.start}, line "):
                list(read_chunks(path))
        else:
            assert "".join(read_chunks(path)) == "".join(read_chunks(path, errors="replace"))


def test_damage_is_replaced_on_request(tmp_path):
    path, ids = tmp_path / "text.txt", tmp_path / "ids.npy"
    path.write_bytes(b"to \xff be\xe2\x80")
    text = "to \ufffd be\ufffd"
    assert load_corpus(path, errors="replace") == text
    vocabulary = Vocabulary.from_text(read_chunks(path, errors="replace"))
    assert vocabulary.decode(encode_file(path, vocabulary, ids, decode_errors="replace")) == text
    known = Vocabulary("to be")
    assert known.decode(encode_file(path, known, ids, errors="ignore", decode_errors="replace")) == "to  be"
    for use in (load_corpus, lambda name: list(read_chunks(name)), lambda name: encode_file(name, vocabulary, ids)):
        with pytest.raises(ValueError, match="byte 0xff at offset 3, line 1"):
            use(path)


def test_bad_choices_about_damage(tmp_path):
    (tmp_path / "text.txt").write_text("ab")
    vocabulary, ids = Vocabulary("ab"), tmp_path / "ids.npy"
    for errors in ("ignore", None):
        with pytest.raises(ValueError, match=f'must be "strict" or "replace"; received {errors!r}'):
            load_corpus(tmp_path / "text.txt", errors)
        with pytest.raises(ValueError, match=f'must be "strict" or "replace"; received {errors!r}'):
            encode_file(tmp_path / "text.txt", vocabulary, ids, decode_errors=errors)
    with pytest.raises(ValueError, match=r"received 'replace'\. For bytes that are not UTF-8, type decode_errors"):
        encode_file(tmp_path / "text.txt", vocabulary, ids, errors="replace")
    assert not ids.exists()

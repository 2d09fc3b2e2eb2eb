"""Random bytes and large files: read whole, or refused in one line; the same ids in Python and in a graph."""

import random
import re
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from helpers.bad_text import LEVELS, assert_same_ids_in_a_graph, read_by_python

from tfcharlm.cli import UserError
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.text import GraphCodec, Vocabulary, files, load_corpus


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


def may_be_wide(data):
    """Bytes of 8 or more whose NULs are nearly all in every second or fourth place: they may be refused."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    is_utf_16 = max(even, odd) > 0 and min(even, odd) <= max(even, odd) / 10
    return len(data) >= 8 and (is_utf_16 or max(data[::4].count(0), data[3::4].count(0)) > 1)


@pytest.fixture(params=[500, pytest.param(100_000, marks=pytest.mark.slow)])
def strings(request, rng):
    return random_bytes(random.Random(int(rng.integers(2**32))), request.param)


def test_random_bytes_in_a_file_are_read_whole_or_refused_in_one_line(strings, tmp_path, monkeypatch):
    path = tmp_path / "random.txt"
    outcomes = []
    for number, data in enumerate(strings):
        monkeypatch.setattr(files, "CHUNK", 1 + number % 13)
        path.write_bytes(data)
        for errors in ("strict", "replace"):
            text, wrong = read_by_python(data, errors)
            if may_be_wide(data):
                continue
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

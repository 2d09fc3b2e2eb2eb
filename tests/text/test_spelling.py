"""Characters spelled with the digits of their bytes: against Python's own UTF-8, over all of Unicode."""

import numpy as np
import pytest
import tensorflow as tf

from tfcharlm.text import GraphCodec, Vocabulary
from tfcharlm.text.spelling import DIGITS, FIRST, HEX, Spelling, digits_of_unfinished, spelled

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def reached(transitions):
    """Every way from the start back to it, as texts of hexadecimal digits."""
    names, open_ways, ways = FIRST + HEX, [(0, "")], []
    while open_ways:
        state, digits = open_ways.pop()
        for name, after in zip(names, transitions[state].tolist(), strict=True):
            if after == 0:
                ways.append(digits + name)
            elif after > 0:
                open_ways.append((after, digits + name))
    return ways


@pytest.mark.parametrize(
    "known",
    [
        "",
        "ab\n",
        "é€\U0001f600\ud7ff\ue000\uffff\U00010000\U0010ffff",
        # Whole blocks: no character is left behind some of the first digits.
        "".join(map(chr, [*range(0x80), *range(0x400, 0x440), *range(0x1000, 0x2000)])),
    ],
    ids=["nothing", "letters", "edges", "blocks"],
)
def test_exactly_the_characters_that_are_not_tokens_can_be_spelled(known):
    ways = reached(Spelling(known).transitions)
    assert len(set(ways)) == len(ways)
    expected = set(CHARACTERS) - set(known)
    assert set(ways) == {character.encode().hex().upper() for character in expected}


def test_a_large_alphabet_needs_few_states(rng):
    known = [CHARACTERS[i] for i in 0x4E00 + rng.permutation(20000)[:4000]]
    assert len(Spelling(known).transitions) < 2000


@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_all_of_unicode_is_encoded_and_decoded_in_python_and_in_the_graph(level, rng):
    corpus = "to be, or not to be \u017c\u00f3\u0142w \u6771\u4eac\n" * 3
    vocabulary = Vocabulary.from_text(corpus, level)
    drawn = (rng.integers(len(CHARACTERS), size=rng.integers(0, 12)) for _ in range(2000))
    texts = ["".join(CHARACTERS[i] for i in row) + " be\u6771" for row in drawn]
    codec = GraphCodec(vocabulary)
    ids = [vocabulary.encode(text) for text in texts]
    assert [vocabulary.decode(row) for row in ids] == texts
    assert codec.encode(tf.constant(texts)).to_list() == [row.tolist() for row in ids]
    for row, text in zip(ids[:50], texts[:50], strict=True):
        assert codec.decode(tf.constant(row[None])).numpy()[0].decode() == text
        assert sum(np.array(vocabulary.characters_per_token)[row]) == len(text)


def test_a_character_at_the_end_that_is_not_whole():
    vocabulary = Vocabulary.from_text("abc", min_count=1)
    codec, text = GraphCodec(vocabulary), "a\u20ac\U0001f600b\u017c"
    ids = vocabulary.encode(text)
    wholes = [vocabulary.encode(text[:n]) for n in range(len(text) + 1)]
    for cut in range(1, len(ids) + 1):
        whole = max(len(part) for part in wholes if len(part) <= cut)
        assert codec.decode(tf.constant(ids[None, :cut])).numpy()[0].decode() == vocabulary.decode(ids[:whole])
        assert digits_of_unfinished((ids[:cut] - 3).tolist()) == cut - whole
        assert vocabulary.decode(ids[:cut]) == vocabulary.decode(ids[:whole]) + "\ufffd" * (cut > whole)


def test_digits_in_any_order_are_some_text(rng):
    vocabulary = Vocabulary.from_text("ab", min_count=1)
    for ids in rng.integers(0, len(vocabulary), (200, 15)):
        assert isinstance(vocabulary.decode(ids).encode("utf-8"), bytes)
    assert vocabulary.decode(np.arange(2, 30)[[0, 16, 12, 13]]) == "\x04\ufffd\ufffd"


def test_rare_characters_are_spelled_where_there_are_many():
    common = "".join(map(chr, range(0x4E00, 0x4E00 + 600)))
    vocabulary = Vocabulary.from_text(common * 3 + "\u6771\u4eac\u6771\n")
    assert set(vocabulary.tokens) == {*common, "\n", *DIGITS}
    assert len(vocabulary.encode("\u6771")) == len(spelled("\u6771")) == 6
    assert "\u6771" in Vocabulary.from_text(common * 3 + "\u6771\u4eac\u6771\n", min_count=2).tokens
    assert Vocabulary.from_text("zebra").tokens[:5] == ("a", "b", "e", "r", "z"), "of few characters, all are tokens"


def test_only_all_digits_at_the_end_spell():
    for tokens in (["a", *DIGITS[:-1]], [*DIGITS, "a"], ["a", DIGITS[3]]):
        with pytest.raises(ValueError, match="one code point"):
            Vocabulary(tokens)
    assert Vocabulary(["a", *DIGITS]).spelling is not None
    assert Vocabulary("a").spelling is None
    with pytest.raises(ValueError, match="not in the vocabulary"):
        Vocabulary("a").encode("b")

"""The known token that is most like a new one."""

import types

import pytest

from tfcharlm.text import Vocabulary, relatives

CASES = {
    "itself": ("é", ["e", "é"], "é"),
    "lower case before an accent": ("É", ["E", "é"], "é"),
    "no accent": ("é", ["e", "E"], "e"),
    "upper case": ("a", ["A", "b"], "A"),
    "no accent in another case": ("É", ["e", "a"], "e"),
    "the usual width": ("Ａ", ["A", "a"], "A"),
    "the usual width in another case": ("Ａ", ["a", "b"], "a"),
    "two accents": ("ế", ["e", "n"], "e"),
    "a quotation mark": ("“", ['"', "'"], '"'),
    "an apostrophe": ("’", ['"', "'"], "'"),
    "a dash": ("—", ["-", "_"], "-"),
    "a mark that is turned": ("¿", ["?", "!"], "?"),
    "another digit is another token": ("7", ["1", "2"], None),
    "another script": ("あ", ["a", "ア"], None),
    "a letter that Unicode does not decompose": ("ß", ["b", "s"], None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_character_is_like_the_nearest_known_one(case):
    token, known, expected = CASES[case]
    known = Vocabulary(known)
    (found,) = relatives(Vocabulary([token]), known)
    assert (None if found is None else known.tokens[found]) == expected


@pytest.mark.parametrize(
    ("word", "expected"), [(" The", " the"), ("the", " the"), ("Café", " cafe"), (" or", "or"), (" no", None)]
)
def test_a_word_is_like_the_same_word_in_another_place(word, expected):
    known = Vocabulary([" the", " cafe", "or", "on"], level="word")
    (found,) = relatives(Vocabulary([word], level="word"), known)
    assert (None if found is None else known.tokens[found]) == expected


def test_bytes_that_spell_characters_are_like_nothing_but_themselves():
    """Lone surrogates have neither a case nor a decomposition."""
    new, known = (
        types.SimpleNamespace(tokens=tokens) for tokens in (["\udc80", "\udcff", "a"], ["a", "\udcff", "\ufffd"])
    )
    assert relatives(new, known) == [None, 1, 0]


def test_every_byte_is_itself():
    vocabulary = Vocabulary.from_text("to be", level="byte")
    assert relatives(vocabulary, vocabulary) == list(range(256))

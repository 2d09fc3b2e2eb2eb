"""Features of a text, character by character, on texts small enough to read."""

import pytest

from tfcharlm.analysis import FEATURES


def marked(name, text):
    return "".join("-x"[int(inside)] for inside in FEATURES[name](text))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("quotation", 'a "b c" d', "--xxxx---"),
        ("quotation", "a “b” «c»", "--xx--xx-"),
        ("quotation", "He said 'Go to.' on.", "--------xxxxxxx-----"),
        ("quotation", "'Tis a king's.' word", "-" * 20),  # apostrophes
        ("quotation", 'an open "\n\nquotation"', "-" * 21),
        ("speaker", "KING LEAR:\nNo, Sir:\nI:\n", "xxxxxxxxx-----------x--"),
        ("speaker", "A: b\n12:\nÉTÉ:", "---------xxx-"),
        ("line end", "ab\n\nc\n", "-xx-x-"),
        ("line end", "", ""),
    ],
)
def test_features_of_small_texts(name, text, expected):
    assert len(expected) == len(text)
    assert marked(name, text) == expected


def test_the_position_in_a_line_restarts():
    assert FEATURES["line position"]("ab\n\nc").tolist() == [1, 2, 0, 0, 1]

"""The page of surprise is the text, line by line, in colors that can be read and told apart without hues."""

import html
import itertools
import re

import numpy as np
import pytest
from helpers.colored_pages import Page, check_colors_can_be_read, check_page_needs_nothing, text_of
from helpers.recorded_activations import TEXT
from hypothesis import given
from hypothesis import strategies as st

from tfcharlm import plots
from tfcharlm.analysis import Surprise
from tfcharlm.plots.colors import luminance


def surprise_of(text, bits, ends=None):
    return Surprise(
        text, np.array(bits, float), np.arange(1, len(text) + 1) if ends is None else np.array(ends), len(bits)
    )


def joined(lines):
    return list(itertools.chain.from_iterable(lines))


def levels_of(page, name="text"):
    return [[int(re.match(r"v(\d+)", name)[1]) for name in classes] for classes in Page(page, name).classes]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.integers(0, 2**32))
def test_the_page_has_every_line_of_the_text(text, seed):
    bits = np.random.default_rng(seed).exponential(size=len(text))
    page = plots.surprise_page(surprise_of(text, bits))
    lines = re.findall("[^\n]*\n|[^\n]+", text)
    assert text_of(page) == lines
    assert "".join(text_of(page)) == text and "\r" not in page


def test_colors_and_tooltips_follow_the_bits(rng):
    bits = rng.exponential(2.5, size=len(TEXT))
    page = plots.surprise_page(surprise_of(TEXT, bits), max_bits=5)
    assert joined(levels_of(page)) == np.rint(np.minimum(bits / 5, 1) * 20).tolist()
    names = {"\n": "newline", "\t": "tab", " ": "space"}
    tooltips = [f"{names.get(char, char)}: {number:.2f} bits" for char, number in zip(TEXT, bits, strict=True)]
    assert joined(Page(page).tooltips) == tooltips
    marks = [" ".join(classes.split()[1:]) for line in Page(page).classes for classes in line]
    assert marks == [{"\n": "line", "\t": "tab"}.get(char, "") for char in TEXT]


def test_every_line_has_its_number_and_its_mean(rng):
    bits = rng.exponential(2.5, size=len(TEXT))
    ends = [i + 1 for i, char in enumerate(TEXT) if char == "\n"]
    means = [line.mean() for line in np.split(bits, ends[:-1])]
    page = plots.surprise_page(surprise_of(TEXT, bits), max_bits=5, first_line=1999)
    assert Page(page, "mean").texts == [f"{mean:.2f}" for mean in means]
    assert [levels[0] for levels in levels_of(page, "mean")] == np.rint(np.minimum(means, 5) * 4).tolist()
    assert re.findall(r'<th scope="row">([\d,]+)<', page) == [f"{1999 + i:,}" for i in range(len(means))]


def test_the_strongest_color_is_for_one_piece_in_a_hundred(rng):
    for scale, expected in ((0.2, 4), (1.5, 8), (2.5, 12)):
        bits = rng.exponential(scale, size=20_000)
        limit = int(re.search(r"(\d+) or more bits", plots.surprise_page(surprise_of("a" * len(bits), bits)))[1])
        assert limit == expected == 4 * np.ceil(np.quantile(bits, 0.99) / 4)
    page = plots.surprise_page(surprise_of("abc", [0.5, 0.1, 0.2]), max_bits=2)
    assert Page(page, "scale legend").texts == ["00.511.52 or more bits"]


def test_what_is_not_finite_gets_a_color(rng):
    page = plots.surprise_page(surprise_of("ab\nc", [np.inf, np.nan, 1.0, np.nan]))
    assert levels_of(page) == [[20, 0, 5], [0]]
    assert Page(page, "mean").texts == ["nan", "nan"]
    assert "4 or more bits" in plots.surprise_page(surprise_of("a", [np.nan]))


def test_words_and_invisible_characters_have_names():
    text = "to <be>\r\u200b\u200bx"
    page = plots.surprise_page(surprise_of(text, [1, 2, 3, 4, 5, 6, 7], [2, 4, 6, 7, 8, 9, 11]))
    tooltips = list(dict.fromkeys(joined(Page(page).tooltips)))
    names = ["to", " <", "be", ">", "U+000D", "U+200B ZERO WIDTH SPACE", r"\u200bx"]
    assert tooltips == [f"{name}: {bits}.00 bits" for bits, name in enumerate(names, 1)]


def test_every_color_can_be_read_and_is_further_from_the_page_than_the_one_before():
    page = plots.surprise_page(surprise_of("a", [1]))
    check_colors_can_be_read(page, neutral=0)
    for style, sign in zip(page.split("@media"), (-1, 1), strict=True):
        colors = re.findall(r"\.v\d+\{background:#(\w\w)(\w\w)(\w\w)", style)
        brightness = [luminance([int(part, 16) for part in color]) for color in colors]
        assert all(np.diff(brightness) * sign > 0)


def test_colors_of_two_kinds_of_pages_do_not_mix_in_one_notebook():
    page = plots.surprise_page(surprise_of("a", [1]))
    assert '<div class="colored-text surprise">' in page
    assert re.findall(r"^(.*) \.v20\{", page, re.MULTILINE) == [".colored-text.surprise"] * 2


def test_the_page_needs_nothing_and_says_what_it_shows():
    page = plots.surprise_page(surprise_of("a", [1]), title="A & B", note="<the> first")
    check_page_needs_nothing(page)
    assert "<title>A &amp; B</title>" in page and "<p>&lt;the&gt; first</p>" in page
    assert "bits" in page and html.unescape(page).count("−log₂") == 1


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True])
def test_a_bad_limit_is_refused(value):
    with pytest.raises(ValueError, match=r"^max_bits must be a number above 0, or None; received "):
        plots.surprise_page(surprise_of("a", [1]), max_bits=value)

"""Colored text is the text, in colors that can be read, on a page that needs nothing else."""

import re

import numpy as np
import pytest
from helpers.colored_pages import Page, check_colors_can_be_read, check_page_needs_nothing, text_of
from helpers.recorded_activations import TEXT, recorded_of
from hypothesis import given
from hypothesis import strategies as st

from tfcharlm import plots
from tfcharlm.analysis import Activations, UnitCorrelation
from tfcharlm.plots.colors import contrast


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), st.integers(0, 2**32))
def test_colored_text_is_the_text(text, seed):
    values = np.random.default_rng(seed).normal(size=(len(text), 2))
    recorded = Activations(tuple(text), ({"h": values},))
    assert text_of(plots.colored_text(recorded, [(0, "h", 1), (0, "h", 0)])) == [text, text]


def test_a_carriage_return_is_written_so_that_browsers_keep_it(rng):
    text = "a\r\nb\rc"
    page = plots.colored_text(recorded_of(rng, text), [(0, "h", 1)])
    assert "\r" not in page and page.count("&#13;") == 2 and text_of(page) == [text]


def test_colors_follow_the_activations(rng):
    recorded = recorded_of(rng)
    values, gate = recorded.layers[0]["c"][:, 2], recorded.layers[0]["i"][:, 3]
    page = Page(plots.colored_text(recorded, [(0, "c", 2), (0, "i", 3)]))
    for classes, expected in zip(page.classes, (values / np.abs(values).max(), 2 * gate - 1), strict=True):
        levels = [int(re.match(r"v(\d+)", name)[1]) for name in classes]
        assert levels == np.rint(10 * (expected + 1)).tolist()
    for name, mark in (("\n", "line"), ("\t", "tab")):
        marked = [mark in names.split() for names in page.classes[0]]
        assert marked == [character == name for character in TEXT]


def test_a_constant_unit_is_colored_too(rng):
    recorded = recorded_of(rng)
    recorded.layers[0]["h"][:, 1] = 0
    classes = Page(plots.colored_text(recorded, [(0, "h", 1)])).classes[0]
    assert {name.split()[0] for name in classes} == {"v10"}


def test_every_color_can_be_read_on_both_backgrounds(rng):
    check_colors_can_be_read(plots.colored_text(recorded_of(rng), [(0, "h", 1)]), neutral=10)
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_the_page_needs_nothing_and_says_what_it_shows(rng):
    units = {"in <quotes>": UnitCorrelation(0, "c", 2, -0.625), "plain": (1, "h", 0)}
    page = plots.colored_text(recorded_of(rng), units, title="A & B")
    assert "<title>A &amp; B</title>" in page
    assert "<h2>in &lt;quotes&gt;: c 2 of layer 0, correlation -0.62</h2>" in page
    assert "<h2>plain: h 0 of layer 1</h2>" in page
    check_page_needs_nothing(page)
    (scale, _) = Page(page, "scale").texts
    assert scale.startswith("-") and scale.count("0.00") == 1
    with pytest.raises(ValueError, match=r"units must have at least one \(layer, kind, unit\).*received \[\]"):
        plots.colored_text(recorded_of(rng), [])

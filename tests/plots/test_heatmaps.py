"""Heat maps show the numbers they are given; pictures as files."""

import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from helpers.colored_pages import text_of
from helpers.recorded_activations import TEXT, recorded_of

from tfcharlm import plots


def test_a_heat_map_has_the_activations_and_the_text(rng):
    recorded = recorded_of(rng).part(0, 40)
    figure = plots.activation_heatmap(recorded, layer=0, kind="c", units=[4, 0, 6])
    axes = figure.axes[0]
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), recorded.layers[0]["c"][:, [4, 0, 6]].T)
    limit = np.abs(image.get_array()).max()
    assert image.get_clim() == (-limit, limit)
    shown = "".join(label.get_text() for label in axes.get_xticklabels())
    assert shown == recorded.text.replace("\n", "↵").replace("\t", "→").replace(" ", "␣")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["4", "0", "6"]
    gates = plots.activation_heatmap(recorded, layer=0, kind="f").axes[0].images[0]
    np.testing.assert_array_equal(gates.get_array(), recorded.layers[0]["f"].T)
    assert gates.get_clim() == (0, 1)


def test_a_heat_map_of_gates_has_all_of_a_unit(rng):
    recorded = recorded_of(rng).part(0, 30)
    images = [axes.images[0] for axes in plots.gate_heatmap(recorded, unit=5).axes if axes.images][:3]
    expected = np.stack([recorded.layers[0][kind][:, 5] for kind in "ifoghc"])
    np.testing.assert_array_equal(np.concatenate([image.get_array() for image in images]), expected)


def test_heat_maps_refuse_what_is_not_there(rng):
    recorded = recorded_of(rng, TEXT * 3)
    with pytest.raises(ValueError, match=r"at most 200 tokens; received 468. Type recorded.part\(0, 200\)"):
        plots.activation_heatmap(recorded)
    recorded = recorded.part(0, 9)
    for arguments, message in [
        ({"layer": 2}, "layer must be a whole number from 0 to 1; received 2"),
        ({"layer": 1, "kind": "c"}, "layer 1 has no 'c'; it has h"),
        ({"units": [7]}, "unit must be a whole number from 0 to 6; received 7"),
        ({"units": [-1]}, "unit must be a whole number from 0 to 6; received -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            plots.activation_heatmap(recorded, **arguments)
    with pytest.raises(ValueError, match="layer 1 has no 'i'; it has h"):
        plots.gate_heatmap(recorded, layer=1)


def test_images_are_the_same_each_time(rng):
    figures = [plots.activation_heatmap(recorded.part(0, 9)) for recorded in [recorded_of(rng)] * 2]
    for form, begin in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        first, second = (plots.image(figure, form) for figure in figures)
        assert first == second and first.startswith(begin)
    xml.etree.ElementTree.fromstring(first)
    with pytest.raises(ValueError, match="format must be one of png, svg; received 'pdf'"):
        plots.image(figures[0], "pdf")


def test_a_diverged_model_has_a_picture(rng):
    recorded = recorded_of(rng).part(0, 9)
    recorded.layers[0]["h"][:] = np.nan
    recorded.layers[0]["c"][2, :] = np.inf
    plots.image(plots.activation_heatmap(recorded))
    plots.image(plots.gate_heatmap(recorded))
    assert text_of(plots.colored_text(recorded, [(0, "h", 0), (0, "c", 0)])) == [recorded.text] * 2


def test_without_matplotlib_the_error_says_what_to_type(rng, monkeypatch):
    recorded = recorded_of(rng).part(0, 9)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (
        lambda: plots.learning_curve({"bits_per_character": [1.0]}),
        lambda: plots.gradient_norm_plot({}),
        lambda: plots.activation_heatmap(recorded),
        lambda: plots.gate_heatmap(recorded),
    ):
        with pytest.raises(ImportError, match=r'pip install "tfcharlm\[plots\]"'):
            draw()
    assert plots.colored_text(recorded, [(0, "h", 0)])

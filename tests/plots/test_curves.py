"""Learning curves and gradient norms show the numbers they are given."""

import dataclasses
import types

import numpy as np
import pytest
from helpers.damaged_files import DAMAGES
from helpers.learning_curves import CURVE

from tfcharlm import plots
from tfcharlm.training import Evaluation


def curves_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_a_learning_curve_of_reports_is_that_of_their_file(tmp_path):
    (tmp_path / "curve.csv").write_text(CURVE)
    names, *rows = (line.split(",") for line in CURVE.splitlines())
    assert names == [field.name for field in dataclasses.fields(Evaluation)]
    expected = {"training": [[1.0, 3.6], [2.5, 2.9]], "validation": [[1.0, 3.5], [2.5, 3.0]]}
    assert curves_of(plots.learning_curve([Evaluation(*map(float, row)) for row in rows])) == expected
    assert curves_of(plots.learning_curve(tmp_path / "curve.csv")) == expected
    assert curves_of(plots.learning_curve(str(tmp_path / "curve.csv"))) == expected


def test_a_learning_curve_of_a_fit_is_over_epochs():
    history = {"loss": [2.0, 1.5], "bits_per_character": [3.0, 2.5]}
    figure = plots.learning_curve(history)
    assert curves_of(figure) == {"training": [[1, 3.0], [2, 2.5]]}
    assert figure.axes[0].get_xlabel() == "epochs"
    both = curves_of(plots.learning_curve(history | {"val_bits_per_character": [3.5, 3.0]}))
    assert both["validation"] == [[1, 3.5], [2, 3.0]]


def test_before_the_first_step_there_is_no_training_loss(tmp_path):
    """A gap in the curve, from objects and from a table."""
    first = types.SimpleNamespace(tokens=0, bits_per_character=None, val_bits_per_character=3.5)
    second = types.SimpleNamespace(tokens=2_000_000, bits_per_character=2.5, val_bits_per_character=3.0)
    (tmp_path / "curve.csv").write_text("tokens,bits_per_character,val_bits_per_character\n0,,3.5\n2000000,2.5,3.0\n")
    for history in ([first, second], tmp_path / "curve.csv"):
        curves = curves_of(plots.learning_curve(history))
        assert curves["validation"] == [[0, 3.5], [2, 3.0]]
        assert np.isnan(curves["training"][0][1]) and curves["training"][1] == [2, 2.5]


def test_what_is_no_learning_curve(tmp_path):
    with pytest.raises(ValueError, match=r"history must have bits_per_character.*\['loss'\]"):
        plots.learning_curve({"loss": [1.0]})
    for content in ("a,b\n1,2\n", CURVE.replace("2.9", "many"), CURVE[:-5], CURVE.replace("1000000", "1e999")):
        (tmp_path / "curve.csv").write_text(content)
        with pytest.raises(ValueError, match=r"curve.csv is not a learning curve of `tfcharlm train`"):
            plots.learning_curve(tmp_path / "curve.csv")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_learning_curve_is_named_in_one_line(tmp_path, damage):
    """A FIFO, too, which would keep its reader waiting."""
    path = tmp_path / "learning_curve.csv"
    DAMAGES[damage](path)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        plots.learning_curve(path)
    line = str(error.value)
    assert str(path) in line and "\n" not in line and len(line) < 300


def test_gradient_norms_are_drawn_backwards_and_zeros_are_left_out():
    norms = {"RNN": ({"h": np.array([0.0, 0.1, 1.0])},), "LSTM $a$": ({"h": np.ones(2), "c": np.full(2, 3.0)},)}
    figure = plots.gradient_norm_plot(norms)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    lines = {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axes.lines}
    assert list(lines) == ["RNN, h", "LSTM $a$, h", "LSTM $a$, c"]
    np.testing.assert_array_equal(lines["RNN, h"], [[2, 1, 0], [np.nan, 0.1, 1.0]])
    plots.image(figure)

"""Pictures show the numbers they are given, colored text is the text, and `tfcharlm plot` writes both."""

import dataclasses
import functools
import re
import sys
import xml.etree.ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfcharlm
from tfcharlm import export, plots
from tfcharlm.analysis import Activations, UnitCorrelation, activations, gradient_norms, correlate_units
from tfcharlm.training.evaluation import Report
from tfcharlm.plots import colored
from tfcharlm.text import Vocabulary

TEXT = 'KENT:\nI said "a < b" & went;\n\tthen $x$\n' * 4
VOCABULARY = Vocabulary.from_text(TEXT)
CURVE = (
    "step,seconds,tokens,learning_rate,loss,bits_per_character,val_loss,val_bits_per_character\n"
    "5,1.5,1000000,0.01,2.5,3.6,2.4,3.5\n9,3.0,2500000,0.005,2.0,2.9,2.1,3.0\n"
)


def recorded_of(rng, text=TEXT, units=7):
    """An LSTM over an RNN, with random numbers for activations."""
    gates = {kind: rng.random((len(text), units)) for kind in "ifo"}
    states = {kind: rng.normal(size=(len(text), units)) for kind in "gch"}
    return Activations(tuple(text), (gates | states, {"h": rng.normal(size=(len(text), 3))}))


def curves_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_a_learning_curve_of_reports_is_that_of_their_file(tmp_path):
    (tmp_path / "curve.csv").write_text(CURVE)
    names, *rows = (line.split(",") for line in CURVE.splitlines())
    assert names == [field.name for field in dataclasses.fields(Report)]
    expected = {"training": [[1.0, 3.6], [2.5, 2.9]], "validation": [[1.0, 3.5], [2.5, 3.0]]}
    assert curves_of(plots.learning_curve([Report(*map(float, row)) for row in rows])) == expected
    assert curves_of(plots.learning_curve(tmp_path / "curve.csv")) == expected
    assert curves_of(plots.learning_curve(str(tmp_path / "curve.csv"))) == expected


def test_a_learning_curve_of_a_fit_is_over_epochs():
    history = {"loss": [2.0, 1.5], "bits_per_character": [3.0, 2.5]}
    figure = plots.learning_curve(history)
    assert curves_of(figure) == {"training": [[1, 3.0], [2, 2.5]]}
    assert figure.axes[0].get_xlabel() == "epochs"
    both = curves_of(plots.learning_curve(history | {"val_bits_per_character": [3.5, 3.0]}))
    assert both["validation"] == [[1, 3.5], [2, 3.0]]


def test_what_is_no_learning_curve(tmp_path):
    with pytest.raises(ValueError, match=r"history must have bits_per_character.*\['loss'\]"):
        plots.learning_curve({"loss": [1.0]})
    for content in ("a,b\n1,2\n", CURVE.replace("2.9", "many"), CURVE[:-5]):
        (tmp_path / "curve.csv").write_text(content)
        with pytest.raises(ValueError, match=r"curve.csv is no learning curve as `tfcharlm train` writes it"):
            plots.learning_curve(tmp_path / "curve.csv")


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


def test_gradient_norms_are_drawn_backwards_and_zeros_are_left_out():
    norms = {"RNN": ({"h": np.array([0.0, 0.1, 1.0])},), "LSTM $a$": ({"h": np.ones(2), "c": np.full(2, 3.0)},)}
    figure = plots.gradient_norm_plot(norms)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    lines = {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axes.lines}
    assert list(lines) == ["RNN, h", "LSTM $a$, h", "LSTM $a$, c"]
    np.testing.assert_array_equal(lines["RNN, h"], [[2, 1, 0], [np.nan, 0.1, 1.0]])
    plots.image(figure)


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


class Page(HTMLParser):
    """The contents of elements with a class, and the class of every character in them."""

    def __init__(self, page, name="text"):
        super().__init__(convert_charrefs=True)
        self.name, self.texts, self.classes, self.inside, self.current, self.urls = name, [], [], False, "", []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.urls += [attributes[name] for name in ("src", "href") if name in attributes]
        if attributes.get("class") == self.name:
            self.inside = True
            self.texts.append("")
            self.classes.append([])
        elif self.inside:
            self.current = attributes["class"]

    def handle_endtag(self, tag):
        self.inside = self.inside and tag == "span"

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data
            self.classes[-1] += [self.current] * len(data)


def text_of(page):
    return Page(page).texts


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


def test_every_color_can_be_read_on_both_backgrounds():
    light, dark = re.split("@media", colored._style())
    for style, page in ((light, "#ffffff"), (dark, "#1e1e1e")):
        rules = re.findall(r"\.v(\d+)\{background:#(\w+);color:#(\w+)\}", style)
        assert [int(level) for level, *_ in rules] == list(range(21))
        for _, *colors in rules:
            assert colored.contrast(*([int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colors)) >= 4.5
        assert "#" + rules[10][1] == page
    assert colored.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_the_page_needs_nothing_and_says_what_it_shows(rng):
    units = {"in <quotes>": UnitCorrelation(0, "c", 2, -0.625), "plain": (1, "h", 0)}
    page = plots.colored_text(recorded_of(rng), units, title="A & B")
    assert "<title>A &amp; B</title>" in page
    assert "<h2>in &lt;quotes&gt;: c 2 of layer 0, correlation -0.62</h2>" in page
    assert "<h2>plain: h 0 of layer 1</h2>" in page
    assert Page(page).urls == [] and not re.search(r"url\(|@import|<script|https?:", page)
    (scale, _) = Page(page, "scale").texts
    assert scale.startswith("-") and scale.count("0.00") == 1
    with pytest.raises(ValueError, match=r"units must have at least one \(layer, kind, unit\).*received \[\]"):
        plots.colored_text(recorded_of(rng), [])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`kent/1`, an LSTM under an RNN, with a learning curve."""
    folder = tmp_path_factory.mktemp("saved_models")
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(4)], embedding_dim=3)
    export.export(model, folder / "kent" / "1", {"learning_curve.csv": CURVE.encode()})
    return folder / "kent"


@pytest.fixture
def plot(command, tmp_path):
    """Runs `tfcharlm plot ...` in a new directory with text.txt."""
    (tmp_path / "text.txt").write_text(TEXT)
    return functools.partial(command, "plot")


def test_plot_curve_draws_the_curve_of_the_model(saved, plot, tmp_path):
    assert plot("curve", saved) == (0, "Written: curve.png\n", "")
    figure = plots.learning_curve(saved / "1" / "assets.extra" / "learning_curve.csv")
    assert (tmp_path / "curve.png").read_bytes() == plots.image(figure)
    assert plot("curve", saved / "1", "--output", "curve.svg") == (0, "Written: curve.svg\n", "")
    xml.etree.ElementTree.fromstring((tmp_path / "curve.svg").read_text())


def test_plot_units_shows_those_that_track_best(saved, plot, tmp_path):
    status, output, error = plot("units", saved, "--corpus", "text.txt")
    assert (status, error) == (0, "")
    recorded = activations(tfcharlm.load_model(saved), TEXT)
    tracks = correlate_units(recorded, layers=[0], count=3)
    named = {name: [f"c {track.unit} ({track.score:+.2f})" for track in found] for name, found in tracks.items()}
    assert output == "".join(f"{name}: {', '.join(found)}\n" for name, found in named.items()) + "Written: units.html\n"
    page = (tmp_path / "units.html").read_text()
    best = {name: found[0] for name, found in tracks.items() if abs(found[0].score) >= 0.1}
    assert page == plots.colored_text(recorded, best, title=f"Units of {saved}")
    assert text_of(page) == [TEXT] * len(best)


def test_plot_units_takes_units_and_a_part_of_the_text(saved, plot, tmp_path):
    arguments = ["--text", TEXT, "--begin", 3, "--length", 30, "--unit", 4, "--unit", 1, "--kind", "f", "--show", 20]
    status, output, _ = plot("units", saved, *arguments)
    assert status == 0 and "Written: units.html" in output
    page = (tmp_path / "units.html").read_text()
    assert text_of(page) == [TEXT[3:23]] * 2 and "<h2>f 4 of layer 0</h2>" in page
    status, *_ = plot("units", saved, *arguments, "--output", "units.png")
    recorded = activations(tfcharlm.load_model(saved), TEXT[3:33]).part(0, 20)
    assert (tmp_path / "units.png").read_bytes() == plots.image(plots.activation_heatmap(recorded, 0, "f", [4, 1]))


def test_plot_gates_shows_a_unit(saved, plot, tmp_path):
    status, output, _ = plot("gates", saved, "--corpus", "text.txt", "--unit", 2, "--show", 30)
    assert (status, output) == (0, "Unit 2 of layer 0\nWritten: gates.png\n")
    recorded = activations(tfcharlm.load_model(saved), TEXT)
    assert (tmp_path / "gates.png").read_bytes() == plots.image(plots.gate_heatmap(recorded.part(0, 30), unit=2))
    status, output, _ = plot("gates", saved, "--text", TEXT, "--output", "gates.html")
    best = max((found[0] for found in correlate_units(recorded, layers=[0]).values()), key=lambda track: abs(track.score))
    assert output.startswith(f"Unit {best.unit} of layer 0\n")
    assert len(text_of((tmp_path / "gates.html").read_text())) == 6


def test_plot_gradients_compares_models(saved, plot, tmp_path):
    names = [saved, saved / "1"]
    status, output, error = plot("gradients", *names, "--corpus", "text.txt", "--window", 9, "--length", 70)
    assert (status, error) == (0, "")
    norms = {str(name): gradient_norms(tfcharlm.load_model(name), TEXT[:70], 9) for name in names}
    lines = output.splitlines()
    assert len(lines) == 7 and lines[-1] == "Written: gradients.png"
    values = norms[str(names[0])][0]["h"]
    assert lines[0] == f"{names[0]}: h of layer 0: {values[-1]:.1e} at the prediction, {values[0]:.1e} 7 steps before"
    assert (tmp_path / "gradients.png").read_bytes() == plots.image(plots.gradient_norm_plot(norms))


REFUSED = {
    "no text": (["units", "kent"], r"either --corpus, such as --corpus text.txt, or --text 'To be'"),
    "two texts": (["units", "kent", "--corpus", "text.txt", "--text", "I"], r"give a text to read: either --corpus"),
    "no such text": (["units", "kent", "--corpus", "none.txt"], r"no file 'none.txt'"),
    "empty text": (["units", "kent", "--text", ""], r"the text is empty"),
    "unknown character": (
        ["units", "kent", "--text", "I saiZ"],
        r"character 'Z' \(U\+005A\) at position 5 .*; a model reads only what its corpus has",
    ),
    "nothing to track": (["units", "kent", "--text", "I"], r"nothing in this text is tracked; give a longer one"),
    "no such unit": (["units", "kent", "--text", "I said", "--unit", "6"], r"--unit must be from 0 to 5; received 6"),
    "no such layer": (
        ["units", "kent", "--text", "I said", "--layer", "2"],
        r"--layer must be from 0 to 1; received 2",
    ),
    "no such kind": (
        ["units", "kent", "--text", "I said", "--layer", "1", "--kind", "c"],
        r"--kind must be one of h in layer 1; received 'c'",
    ),
    "ending": (["units", "kent", "--text", "I", "--output", "u.pdf"], r"--output must end in \.png or \.svg or \.html"),
    "ending of a figure": (["curve", "kent", "--output", "c.html"], r"--output must end in \.png or \.svg; received"),
    "existing": (["curve", "kent", "--output", "old.png"], r"old.png exists already, and nothing is overwritten"),
    "folder": (["curve", "kent", "--output", "no/c.png"], r"no is no directory"),
    "no curve": (["curve", "bare"], r"bare has no assets.extra/learning_curve.csv"),
    "no model": (["curve", "none"], r"none is no directory.*saved_models/shakespeare"),
    "no gates": (["gates", "kent", "--text", "I said", "--layer", "1"], r"layer 1 has no 'i'; it has h"),
    "no layer with gates": (
        ["gates", "kent", "--text", "I said", "--layer", "5"],
        r"--layer must be from 0 to 1; received 5",
    ),
    "short text": (
        ["gradients", "kent", "--text", "I said", "--window", "9"],
        r"--window must be at most the 6 tokens of the text; received 9",
    ),
    "too much to show": (
        ["units", "kent", "--text", "I said", "--unit", "1", "--show", "201", "--output", "u.png"],
        r"--show must be at most 200 in a picture; received 201",
    ),
    "late begin": (
        ["units", "kent", "--text", "I said", "--begin", "6"],
        r"--begin must be less than the 6 characters",
    ),
    "a model twice": (["gradients", "kent", "kent", "--text", "I said"], r"each model must be given once"),
    "no models": (["gradients", "--text", "I said"], r"Missing argument 'MODELS...'"),
    "no number": (["gates", "kent", "--text", "I", "--unit", "-1"], r"--unit.*-1 is not in the range x>=0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_plot_refuses_in_one_line_and_leaves_nothing(saved, plot, tmp_path, case):
    arguments, message = REFUSED[case]
    arguments = [saved if argument == "kent" else argument for argument in arguments]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "saved_model.pb").touch()
    (tmp_path / "old.png").write_text("old")
    status, output, error = plot(*arguments)
    assert (status, output) == (2, "")
    assert re.search(message, error)
    assert error.count("\n") == 1 and error.startswith("tfcharlm: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "old.png", "text.txt"]
    assert (tmp_path / "old.png").read_text() == "old"


def test_a_file_that_came_meanwhile_is_not_overwritten(saved, plot, tmp_path, monkeypatch):
    draw = plots.learning_curve

    def meanwhile(path):
        (tmp_path / "curve.png").write_text("mine")
        return draw(path)

    monkeypatch.setattr(plots, "learning_curve", meanwhile)
    status, _, error = plot("curve", saved)
    assert status == 2 and "curve.png" in error and error.count("\n") == 1
    assert (tmp_path / "curve.png").read_text() == "mine"

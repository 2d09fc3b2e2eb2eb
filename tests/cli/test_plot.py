"""`tfcharlm plot` writes the pictures of the package, or refuses in one line."""

import functools
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from helpers.colored_pages import Page, text_of
from helpers.learning_curves import CURVE
from helpers.recorded_activations import TEXT

import tfcharlm
from tfcharlm import plots
from tfcharlm.analysis import correlate_units, record_activations, record_surprise, state_gradient_norms
from tfcharlm.artefact import export_saved_model
from tfcharlm.commands.item_format import ItemFormat
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary.from_text(TEXT, spell=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`kent/1`, an LSTM under an RNN, with a learning curve."""
    folder = tmp_path_factory.mktemp("saved_models")
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(4)], embedding_dim=3)
    export_saved_model(model, folder / "kent" / "1", {"learning_curve.csv": CURVE.encode()})
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
    recorded = record_activations(tfcharlm.load_model(saved), TEXT)
    tracks = correlate_units(recorded, layers=[0], count=3)
    named = {name: [f"c {track.unit} ({track.score:+.2f})" for track in found] for name, found in tracks.items()}
    order = sorted(named, key=lambda name: -abs(tracks[name][0].score))
    lines = [f"{name}: {', '.join(named[name])}" for name in order]
    lines = [
        line + ", which may be chance" * (abs(tracks[name][0].score) < 0.1)
        for name, line in zip(order, lines, strict=True)
    ]
    assert output.splitlines() == [*lines, "Written: units.html"]
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
    recorded = record_activations(tfcharlm.load_model(saved), TEXT[3:33]).part(0, 20)
    assert (tmp_path / "units.png").read_bytes() == plots.image(plots.activation_heatmap(recorded, 0, "f", [4, 1]))


def test_plot_gates_shows_a_unit(saved, plot, tmp_path):
    status, output, _ = plot("gates", saved, "--corpus", "text.txt", "--unit", 2, "--show", 30)
    assert (status, output) == (0, "Unit 2 of layer 0\nWritten: gates.png\n")
    recorded = record_activations(tfcharlm.load_model(saved), TEXT)
    assert (tmp_path / "gates.png").read_bytes() == plots.image(plots.gate_heatmap(recorded.part(0, 30), unit=2))
    status, output, _ = plot("gates", saved, "--text", TEXT, "--output", "gates.html")
    best = max(
        (found[0] for found in correlate_units(recorded, layers=[0]).values()), key=lambda track: abs(track.score)
    )
    assert output.startswith(f"Unit {best.unit} of layer 0\n")
    assert len(text_of((tmp_path / "gates.html").read_text())) == 6


def test_plot_gradients_compares_models(saved, plot, tmp_path):
    names = [saved, saved / "1"]
    status, output, error = plot("gradients", *names, "--corpus", "text.txt", "--window", 9, "--length", 70)
    assert (status, error) == (0, "")
    norms = {str(name): state_gradient_norms(tfcharlm.load_model(name), TEXT[:70], 9) for name in names}
    lines = output.splitlines()
    assert len(lines) == 7 and lines[-1] == "Written: gradients.png"
    values = norms[str(names[0])][0]["h"]
    assert lines[0] == f"{names[0]}: h of layer 0: {values[-1]:.1e} at the prediction, {values[0]:.1e} 7 steps before"
    assert (tmp_path / "gradients.png").read_bytes() == plots.image(plots.gradient_norm_plot(norms))


def test_plot_surprise_shows_a_text(saved, plot, tmp_path):
    status, output, error = plot("surprise", saved, "text.txt")
    model = tfcharlm.load_model(saved)
    mean = f"{model.score(TEXT)['bits_per_character']:.4f} bits per character, {len(TEXT)} characters."
    assert (status, output, error) == (0, f"{mean}\nWritten: surprise.html\n", "")
    page = (tmp_path / "surprise.html").read_text()
    assert "".join(text_of(page)) == TEXT
    assert page == plots.surprise_page(record_surprise(model, TEXT), f"Surprise of {saved} over text.txt", mean)
    lines = TEXT.splitlines(keepends=True)
    nats = model.score(["".join(lines[: i + 1]) for i in range(len(lines))])["log_probability"]
    means = -np.diff(nats, prepend=0) / np.log(2) / list(map(len, lines))
    np.testing.assert_allclose(list(map(float, Page(page, "mean").texts)), means, atol=0.006)


def test_plot_surprise_reads_items_one_by_one(saved, plot, tmp_path, monkeypatch):
    """Each from a zero state, with its end; the last one goes on where the text is cut."""
    monkeypatch.setattr("tfcharlm.commands.plot_surprise.item_format", lambda directory: ItemFormat(" ", "\n"))
    model = tfcharlm.load_model(saved)
    items = [item for item in TEXT[:40].split(" ") if item.strip("\n")]
    bits = [-np.log2(np.e) * model.token_log_probabilities(item.strip("\n") + "\n") for item in items]
    whole, cut = items, [*bits[:-1], bits[-1][:-1]]
    for length, expected in ((40, cut), (None, bits)):
        text = TEXT[:40] if length is None else TEXT
        options = [] if length is None else ["--length", length]
        assert plot("surprise", saved, "--text", text, *options, "--output", f"{length}.html")[0] == 0
        page = (tmp_path / f"{length}.html").read_text()
        shown = "".join(item.strip("\n") + "\n" for item in whole)
        assert "".join(text_of(page)) == (shown if length is None else shown[:-1])
        mean = np.concatenate(expected).mean()
        assert f"{mean:.4f} bits per character" in page


def test_plot_surprise_says_which_part_it_shows(saved, plot, tmp_path):
    status, output, _ = plot("surprise", saved, "text.txt", "--length", 20, "--output", "a.html")
    said = f"The first 20 of {len(TEXT)} characters."
    assert status == 0 and f"\n{said} --begin and --length choose others.\n" in output
    page = (tmp_path / "a.html").read_text()
    assert "".join(text_of(page)) == TEXT[:20] and f"20 characters. {said}</p>" in page
    arguments = ["--text", TEXT, "--begin", 8, "--length", 20, "--max-bits", 3, "--output", "b.html"]
    status, output, _ = plot("surprise", saved, *arguments)
    page = (tmp_path / "b.html").read_text()
    assert status == 0 and f"\nCharacters 9 to 28 of {len(TEXT)}. --begin" in output
    assert "".join(text_of(page)) == TEXT[8:28] and '<th scope="row">2</th>' in page and "3 or more bits" in page
    assert f"<title>Surprise of {saved}</title>" in page


REFUSED = {
    "no text for surprise": (["surprise", "kent"], r"either CORPUS, such as text.txt, or --text 'To be'"),
    "two texts for surprise": (["surprise", "kent", "text.txt", "--text", "I"], r"give a text .*: either CORPUS, such"),
    "picture of surprise": (["surprise", "kent", "text.txt", "--output", "s.png"], r"--output must end in \.html; "),
    "unknown to surprise": (
        ["surprise", "kent", "--text", "Z"],
        r"character 'Z' .* at position 0 .*; a model can read",
    ),
    "no bits": (["surprise", "kent", "--text", "I", "--max-bits", "0"], r"--max-bits.*0.0 is not in the range x>0"),
    "no text": (["units", "kent"], r"either --corpus, such as --corpus text.txt, or --text 'To be'"),
    "two texts": (["units", "kent", "--corpus", "text.txt", "--text", "I"], r"give a text to read: either --corpus"),
    "no such text": (["units", "kent", "--corpus", "none.txt"], r"no file 'none.txt'"),
    "empty text": (["units", "kent", "--text", ""], r"--text must have at least one character; received"),
    "unknown character": (
        ["units", "kent", "--text", "I saiZ"],
        r"character 'Z' \(U\+005A\) at position 5 .*; a model can read only what its corpus contains",
    ),
    "nothing to track": (
        ["units", "kent", "--text", "I"],
        r"no unit tracks anything in this text; give a longer text, or .*--unit",
    ),
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
    "existing": (["curve", "kent", "--output", "old.png"], r"old.png exists already, and no file is overwritten"),
    "folder": (["curve", "kent", "--output", "no/c.png"], r"no is not a directory"),
    "no curve": (["curve", "bare"], r"bare has no assets.extra/learning_curve.csv"),
    "no model": (["curve", "none"], r"none is not a directory.*saved_models/shakespeare"),
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

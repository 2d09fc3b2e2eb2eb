"""`tfcharlm plot`: pictures of how a model learned and of what its units, gates and gradients do."""

import functools
import os
import warnings
from pathlib import Path

import click

from tfcharlm import plots
from tfcharlm.analysis import correlate_units, record_activations, state_gradient_norms
from tfcharlm.artefact import EXTRA, LEARNING_CURVE, latest_version
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.cli.options import errors_option
from tfcharlm.model import load_model
from tfcharlm.text import UnknownTokenError, load_corpus

CURVE = Path(EXTRA, LEARNING_CURVE)
IMAGES, PAGE = (".png", ".svg"), ".html"
# Tokens that a picture shows unless told otherwise.
SHOWN_IN_TEXT, SHOWN_IN_HEAT_MAP = 2000, 120
# Units named for a feature, and the correlation below which the best of hundreds is chance and is not shown.
NAMED, CHANCE = 3, 0.1


@click.group()
def plot():
    """Plot how a model learned and what its units, gates and gradients do.

    The suffix of --output chooses the format: .png or .svg is a picture (it needs matplotlib), .html is colored text.
    No file is overwritten.
    """


def _output(default, help):
    return click.option("--output", default=default, type=click.Path(path_type=Path), help=help)


def _reads_a_text(length):
    """The options of a command that reads `length` characters of a text unless told otherwise."""
    options = (
        click.option("--corpus", help="The text to read, as for train; mostly the path of a UTF-8 file."),
        errors_option,
        click.option("--text", help="The text itself, instead of --corpus."),
        click.option("--begin", default=0, type=click.IntRange(min=0), help="Characters of the text to leave out."),
        click.option("--length", default=length, type=click.IntRange(min=1), help="Characters of the text to read."),
    )
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


def _picks_units(multiple, help):
    options = (
        click.option("--layer", default=0, type=click.IntRange(min=0), help="Recurrent layer, 0 at the bottom."),
        click.option("--unit", type=click.IntRange(min=0), multiple=multiple, help=help),
        click.option(
            "--show",
            type=click.IntRange(min=1),
            help=f"Tokens to show.  [default: {SHOWN_IN_TEXT:,} as colored text, {SHOWN_IN_HEAT_MAP} in a picture]",
        ),
    )
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


@plot.command()
@click.argument("model", type=click.Path(path_type=Path))
@_output("curve.png", "What to write, .png or .svg.")
def curve(model, output):
    """Draw the learning curve of MODEL: a directory saved_models/NAME (its latest version) or one of its versions."""
    with one_line_errors():
        _check_output(output, IMAGES)
        directory = latest_version(model)
        if not (directory / CURVE).is_file():
            raise ValueError(f"{directory} has no {CURVE}; a model that `tfcharlm train` has made has one.")
        _write(output, plots.learning_curve(directory / CURVE))


@plot.command()
@click.argument("model", type=click.Path(path_type=Path))
@_reads_a_text(length=20_000)
@_picks_units(multiple=True, help="A unit to show; may be given several times.  [default: those that track best]")
@click.option("--kind", help="What of a unit: c, h, i, f, g or o.  [default: c of an LSTM, h of an RNN]")
@_output("units.html", "What to write: .html for colored text, .png or .svg for a heat map.")
def units(model, corpus, errors, text, begin, length, layer, unit, show, kind, output):
    """Show units of MODEL over a text, and say which of them track quotation marks, lines and speakers.

    A score is the correlation of the unit with what it tracks, from -1 to 1. The longer the text that is read, the
    more it means; the beginning of what is read is shown.
    """
    with one_line_errors():
        _check_output(output, (*IMAGES, PAGE))
        recorded = _recorded(model, _read(corpus, errors, text, begin, length))
        kind = _checked_kind(recorded, layer, kind)
        tracks = correlate_units(recorded, kinds=(kind,), layers=(layer,), count=NAMED)
        best = {name: found[0] for name, found in tracks.items() if abs(found[0].score) >= CHANCE}
        _check_units(recorded, layer, kind, unit)
        chosen = [(layer, kind, number) for number in unit] if unit else best
        if not chosen:
            raise ValueError("nothing in this text is tracked; give a longer one, or --unit.")
        shown = recorded.part(0, _tokens_to_show(show, output))
        if output.suffix == PAGE:
            picture = plots.colored_text(shown, chosen, title=f"Units of {model}")
        else:
            numbers = unit or dict.fromkeys(track.unit for track in best.values())
            picture = plots.activation_heatmap(shown, layer, kind, list(numbers))
        _describe(tracks)
        _write(output, picture)


@plot.command()
@click.argument("model", type=click.Path(path_type=Path))
@_reads_a_text(length=20_000)
@_picks_units(multiple=False, help="The unit to show.  [default: the one that tracks best]")
@_output("gates.png", "What to write: .png or .svg for heat maps, .html for colored text.")
def gates(model, corpus, errors, text, begin, length, layer, unit, show, output):
    """Show the gates and states of one unit of MODEL, an LSTM, over a text."""
    with one_line_errors():
        _check_output(output, (*IMAGES, PAGE))
        recorded = _recorded(model, _read(corpus, errors, text, begin, length))
        kind = _checked_kind(recorded, layer, None)
        _check_units(recorded, layer, kind, () if unit is None else (unit,))
        if unit is None:
            tracks = correlate_units(recorded, layers=(layer,), count=1)
            unit = max((found[0] for found in tracks.values()), key=lambda track: abs(track.score)).unit
        shown = recorded.part(0, _tokens_to_show(show, output))
        if output.suffix == PAGE:
            chosen = [(layer, kind, unit) for kind in ("i", "f", "g", "o", "c", "h")]
            picture = plots.colored_text(shown, chosen, title=f"Unit {unit} of {model}")
        else:
            picture = plots.gate_heatmap(shown, layer, unit)
        click.echo(f"Unit {unit} of layer {layer}")
        _write(output, picture)


@plot.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@_reads_a_text(length=5_000)
@click.option("--window", default=100, type=click.IntRange(min=2), help="Tokens before a prediction, and this one.")
@_output("gradients.png", "What to write, .png or .svg.")
def gradients(models, corpus, errors, text, begin, length, window, output):
    """Show how far the gradients of MODELS reach back: their norms at every step before a prediction, in one picture.

    The text is cut into windows, of each of which the last token is predicted; norms are means over them.
    """
    with one_line_errors():
        _check_output(output, IMAGES)
        read = _read(corpus, errors, text, begin, length)
        if len(set(models)) < len(models):
            raise ValueError("each model must be given once; received one of them twice.")
        norms = {str(model): _norms(model, read, window) for model in models}
        for name, layers in norms.items():
            for layer, states in enumerate(layers):
                for kind, values in states.items():
                    click.echo(
                        f"{name}: {kind} of layer {layer}: {values[-1]:.1e} at the prediction, "
                        f"{values[0]:.1e} {len(values) - 1} steps before"
                    )
        _write(output, plots.gradient_norm_plot(norms))


def _read(corpus, errors, text, begin, length):
    if (corpus is None) == (text is None):
        raise ValueError("give a text to read: either --corpus, such as --corpus text.txt, or --text 'To be'.")
    whole = load_corpus(corpus, errors) if text is None else text
    if not whole:
        raise ValueError("the text is empty; give one with characters.")
    if begin >= len(whole):
        raise ValueError(f"--begin must be less than the {len(whole):,} characters of the text; received {begin}.")
    return whole[begin : begin + length]


def _recorded(directory, text):
    return record_activations(*_readable(directory, text))


def _norms(directory, text, window):
    model, text = _readable(directory, text)
    tokens = len(model.vocabulary.encode(text))
    if window > tokens:
        raise ValueError(f"--window must be at most the {tokens:,} tokens of the text; received {window}.")
    return state_gradient_norms(model, text, window)


def _readable(directory, text):
    """`(model, text)`; a ValueError in one line if the text has what the model does not know."""
    model = load_model(directory)
    try:
        model.vocabulary.encode(text)
    except UnknownTokenError as error:
        raise ValueError(f"{directory}: {error.what}; a model reads only what its corpus contains.") from error
    return model, text


def _checked_kind(recorded, layer, kind):
    """The kind to show: what a cell carries along, unless told otherwise."""
    if layer >= len(recorded.layers):
        raise ValueError(f"--layer must be from 0 to {len(recorded.layers) - 1}; received {layer}.")
    kinds = list(recorded.layers[layer])
    if kind is None:
        return "c" if "c" in kinds else kinds[0]
    if kind not in kinds:
        raise ValueError(f"--kind must be one of {', '.join(kinds)} in layer {layer}; received {kind!r}.")
    return kind


def _check_units(recorded, layer, kind, numbers):
    count = recorded.layers[layer][kind].shape[1]
    for number in numbers:
        if number >= count:
            raise ValueError(f"--unit must be from 0 to {count - 1}; received {number}.")


def _tokens_to_show(show, output):
    if show is not None and output.suffix != PAGE and show > plots.MAX_TOKENS:
        raise ValueError(f"--show must be at most {plots.MAX_TOKENS} in a picture; received {show}. Or write .html.")
    return show or (SHOWN_IN_TEXT if output.suffix == PAGE else SHOWN_IN_HEAT_MAP)


def _describe(tracks):
    for name, found in tracks.items():
        named = ", ".join(f"{track.kind} {track.unit} ({track.score:+.2f})" for track in found if track.score)
        click.echo(f"{name}: {named or 'the text has nothing to track'}")


def _check_output(path, endings):
    if path.suffix not in endings:
        raise ValueError(f"--output must end in {' or '.join(endings)}; received {path}.")
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already, and nothing is overwritten; give another file with --output.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path.parent} is no directory; give another file with --output.")


def _write(path, picture):
    """Writes a page or a figure; a file that has come into being meanwhile is not overwritten."""
    with warnings.catch_warnings():
        # A character that the font does not have is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        content = picture.encode("utf-8") if isinstance(picture, str) else plots.image(picture, path.suffix[1:])
    file = path.open("xb")
    try:
        with file:
            file.write(content)
    except OSError as error:
        path.unlink()
        raise OSError(f"{click.format_filename(path)} cannot be written: {error.strerror}") from error
    click.echo(f"Written: {click.format_filename(path)}")

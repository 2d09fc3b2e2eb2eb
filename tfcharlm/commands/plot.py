"""`tfcharlm plot`: pictures of how a model learned and of what its units, gates and gradients do."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tfcharlm import plots
from tfcharlm.analysis import (
    Activations,
    UnitCorrelation,
    correlate_units,
    record_activations,
    state_gradient_norms,
)
from tfcharlm.cli import IMAGES, PAGE, SHOWN_IN_HEAT_MAP, SHOWN_IN_TEXT, check_output
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.commands.picture_files import write_picture
from tfcharlm.commands.plot_texts import load_reader, read_part

# How many units are printed for a feature. A correlation below CHANCE may be chance, as the best of hundreds of units;
# such a unit is not shown.
NAMED, CHANCE = 3, 0.1


def units(
    model: Path,
    corpus: str | None,
    errors: str,
    text: str | None,
    begin: int,
    length: int,
    layer: int,
    unit: tuple[int, ...],
    show: int | None,
    kind: str | None,
    output: Path,
) -> None:
    """Shows units over a text, and prints which of them track what."""
    with one_line_errors():
        check_output(output, (*IMAGES, PAGE))
        recorded = _recorded(model, read_part(corpus, errors, text, begin, length).text)
        kind = _checked_kind(recorded, layer, kind)
        correlations = correlate_units(recorded, kinds=(kind,), layers=(layer,), count=NAMED)
        best = {name: found[0] for name, found in correlations.items() if abs(found[0].score) >= CHANCE}
        _check_units(recorded, layer, kind, unit)
        chosen = [(layer, kind, number) for number in unit] if unit else best
        if not chosen:
            raise ValueError("no unit tracks anything in this text; give a longer text, or choose a unit with --unit.")
        shown = recorded.part(0, _tokens_to_show(show, output))
        if output.suffix == PAGE:
            picture: Any = plots.colored_text(shown, chosen, title=f"Units of {model}")
        else:
            numbers = unit or dict.fromkeys(found.unit for found in best.values())
            picture = plots.activation_heatmap(shown, layer, kind, list(numbers))
        _describe(correlations)
        write_picture(output, picture)


def gates(
    model: Path,
    corpus: str | None,
    errors: str,
    text: str | None,
    begin: int,
    length: int,
    layer: int,
    unit: int | None,
    show: int | None,
    output: Path,
) -> None:
    """Shows the gates and states of a unit over a text."""
    with one_line_errors():
        check_output(output, (*IMAGES, PAGE))
        recorded = _recorded(model, read_part(corpus, errors, text, begin, length).text)
        kind = _checked_kind(recorded, layer, None)
        _check_units(recorded, layer, kind, () if unit is None else (unit,))
        if unit is None:
            correlations = correlate_units(recorded, layers=(layer,), count=1)
            unit = max((found[0] for found in correlations.values()), key=lambda found: abs(found.score)).unit
        shown = recorded.part(0, _tokens_to_show(show, output))
        if output.suffix == PAGE:
            chosen = [(layer, kind, unit) for kind in ("i", "f", "g", "o", "c", "h")]
            picture: Any = plots.colored_text(shown, chosen, title=f"Unit {unit} of {model}")
        else:
            picture = plots.gate_heatmap(shown, layer, unit)
        click.echo(f"Unit {unit} of layer {layer}")
        write_picture(output, picture)


def gradients(
    models: tuple[Path, ...],
    corpus: str | None,
    errors: str,
    text: str | None,
    begin: int,
    length: int,
    window: int,
    output: Path,
) -> None:
    """Shows how far the gradients of models reach back."""
    with one_line_errors():
        check_output(output, IMAGES)
        read = read_part(corpus, errors, text, begin, length).text
        norms = {str(model): _norms(model, read, window) for model in models}
        for name, layers in norms.items():
            for layer, states in enumerate(layers):
                for kind, values in states.items():
                    click.echo(
                        f"{name}: {kind} of layer {layer}: {values[-1]:.1e} at the prediction, "
                        f"{values[0]:.1e} {len(values) - 1} steps before"
                    )
        write_picture(output, plots.gradient_norm_plot(norms))


def _recorded(directory: Path, text: str) -> Activations:
    return record_activations(*load_reader(directory, text))


def _norms(directory: Path, text: str, window: int) -> Sequence[Mapping[str, Any]]:
    model, text = load_reader(directory, text)
    tokens = len(model.vocabulary.encode(text))
    if window > tokens:
        raise ValueError(f"--window must be at most the {tokens:,} tokens of the text; received {window}.")
    return state_gradient_norms(model, text, window)


def _checked_kind(recorded: Activations, layer: int, kind: str | None) -> str:
    """The kind to show; by default the memory of the cell."""
    if layer >= len(recorded.layers):
        raise ValueError(f"--layer must be from 0 to {len(recorded.layers) - 1}; received {layer}.")
    kinds = list(recorded.layers[layer])
    if kind is None:
        return "c" if "c" in kinds else kinds[0]
    if kind not in kinds:
        raise ValueError(f"--kind must be one of {', '.join(kinds)} in layer {layer}; received {kind!r}.")
    return kind


def _check_units(recorded: Activations, layer: int, kind: str, numbers: Iterable[int]) -> None:
    count = recorded.layers[layer][kind].shape[1]
    for number in numbers:
        if number >= count:
            raise ValueError(f"--unit must be from 0 to {count - 1}; received {number}.")


def _tokens_to_show(show: int | None, output: Path) -> int:
    if show is not None and output.suffix != PAGE and show > plots.MAX_TOKENS:
        raise ValueError(
            f"--show must be at most {plots.MAX_TOKENS} in a picture; received {show}. An .html file can show more."
        )
    return show or (SHOWN_IN_TEXT if output.suffix == PAGE else SHOWN_IN_HEAT_MAP)


def _describe(correlations: Mapping[str, Sequence[UnitCorrelation]]) -> None:
    """Prints what each feature is followed by; first the feature that a unit follows best."""
    for name, best in sorted(correlations.items(), key=lambda item: -abs(item[1][0].score)):
        named = ", ".join(f"{found.kind} {found.unit} ({found.score:+.2f})" for found in best if found.score)
        chance = ", which may be chance" if named and abs(best[0].score) < CHANCE else ""
        click.echo(f"{name}: {named or 'does not occur in this text'}{chance}")

"""`tfcharlm inspect`: what a directory is, whoever wrote it."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from tfcharlm.artefact import Inspection
from tfcharlm.checks import one_line
from tfcharlm.cli import printable
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.commands.messages import print_json
from tfcharlm.model import inspect_model
from tfcharlm.text import Vocabulary

# Of anything in a report; the rest is counted.
MAX_LINES = 10


def inspect(model: Path, as_json: bool = False) -> None:
    """Prints what a directory is; exits with the status that says whether it is an unchanged export."""
    with one_line_errors():
        inspection = inspect_model(model)
    if as_json:
        print_json(_facts(inspection))
    else:
        for line in _described(inspection):
            click.echo(printable(line))
    sys.exit(int(not inspection.is_plain_export))


def _facts(inspection: Inspection) -> dict[str, Any]:
    """What a program reads of a report. Nothing is left out."""
    vocabulary = inspection.vocabulary
    tokens = None
    if vocabulary is not None:
        tokens = {"tokens": len(vocabulary), "level": vocabulary.level, "fingerprint": vocabulary.fingerprint}
        tokens["other_characters"] = _other_characters(vocabulary)
    return {
        "report": "inspection",
        "directory": str(inspection.directory),
        "is_plain_export": inspection.is_plain_export,
        "version": inspection.version,
        "vocabulary": tokens,
        "signatures": {
            signature.name: {"inputs": list(map(list, signature.inputs)), "outputs": list(map(list, signature.outputs))}
            for signature in inspection.signatures
        },
        "differences": list(inspection.differences),
        "operations": inspection.operations,
        "functions": inspection.functions,
        "disallowed": [[found.operation, found.name, found.where] for found in inspection.disallowed],
    }


def _described(inspection: Inspection) -> Iterator[str]:
    vocabulary = inspection.vocabulary
    if vocabulary is None:
        yield f"{inspection.directory}: a SavedModel, but not a readable tfcharlm model"
    else:
        yield f"{inspection.directory}: a model of tfcharlm {inspection.version}"
        yield (
            f"Vocabulary: {len(vocabulary):,} tokens, level {vocabulary.level}, fingerprint {vocabulary.fingerprint}"
        )
        yield f"Other characters: {_other_characters(vocabulary)}"
    yield "Signatures:" if inspection.signatures else "Signatures: none"
    yield from _first(
        f"{signature.name}({_listed(signature.inputs)}) -> {_listed(signature.outputs)}"
        for signature in inspection.signatures
    )
    yield "Files: " + ("not those of an export" if inspection.differences else "as an export writes them")
    yield from _first(inspection.differences)
    size = f"{inspection.operations:,} in the graph and its {inspection.functions:,} functions"
    if not inspection.disallowed:
        yield f"Operations: {size}, all of them needed by a tfcharlm model"
        return
    yield f"Operations: {size}; {len(inspection.disallowed):,} disallowed, because no tfcharlm model needs them:"
    yield from _first(f"{found.operation}, {found.name} in {found.where}" for found in inspection.disallowed)


def _other_characters(vocabulary: Vocabulary) -> str:
    """What happens to a character that is not a token."""
    if vocabulary.level == "byte":
        return "none; every text is bytes"
    if vocabulary.spelling is None:
        return "refused"
    return "spelled with the hexadecimal digits of their bytes in UTF-8"


def _first(lines: Iterable[str]) -> Iterator[str]:
    """The first lines of a list that a stranger's file may have made long, and how many more there are."""
    lines = list(lines)
    yield from (f"  {one_line(line)}" for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield f"  and {len(lines) - MAX_LINES:,} more"


def _listed(tensors: Iterable[tuple]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in tensors)

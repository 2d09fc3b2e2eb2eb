"""What LiteRT and ONNX files share: names of the states, the JSON file beside the model, writing both or neither."""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.atomic_files import replace_file
from tfcharlm.text import WORD_PATTERN, Vocabulary

FORMAT = 1


def checked_target(filepath: Path | str, ending: str) -> Path:
    """The path; raises if it has another ending, or if something is there already."""
    target = Path(filepath)
    if target.suffix != ending:
        raise ValueError(f"filepath must end in {ending}, such as {target.with_suffix(ending)}; received {target}.")
    for path in (target, json_path(target)):
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists already; remove it or choose another name.")
    return target


def json_path(target: Path) -> Path:
    """`model.tflite.json` for `model.tflite`, so that files of both formats may have the same stem."""
    return target.with_name(target.name + ".json")


def named_states(model: ExportableModel) -> list[dict[str, Any]]:
    """`[{"input": "state_0", "output": "next_state_0", "shape": [None, units]}, ...]`, None for the batch."""
    states = model.initial_state(1)
    if any(np.any(np.asarray(state)) for state in states):
        raise ValueError(
            "cells must start with zero states, because a runtime does; received a cell that starts with others."
        )
    return [
        {"input": f"state_{i}", "output": f"next_state_{i}", "shape": [None, *map(int, state.shape[1:])]}
        for i, state in enumerate(states)
    ]


def described_vocabulary(vocabulary: Vocabulary) -> dict[str, Any]:
    """What a program in any language needs to encode and decode text, and the version of this package."""
    return {
        "format": FORMAT,
        "tfcharlm": version("tfcharlm"),
        "level": vocabulary.level,
        "pattern": WORD_PATTERN if vocabulary.level == "word" else r"[\s\S]",
        "spelling": None if vocabulary.spelling is None else vocabulary.spelling.transitions.tolist(),
        "start": list(vocabulary.line_start),
        "tokens": list(vocabulary.tokens),
    }


def publish(target: Path, content: bytes, model: ExportableModel, states: list[dict[str, Any]]) -> Path:
    """Writes the model file and its JSON file, both or neither, and returns the path of the model file."""
    description = {**described_vocabulary(model.vocabulary), "states": states}
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(description, indent=1)
    # The model comes last: whoever sees it finds the JSON file beside it.
    replace_file(json_path(target), lambda path: path.write_text(text, encoding="utf-8"))
    try:
        replace_file(target, lambda path: path.write_bytes(content))
    except OSError:
        json_path(target).unlink()
        raise
    return target

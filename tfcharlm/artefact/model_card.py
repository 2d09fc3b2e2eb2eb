"""The model card of an export: `README.md`, as people and Hugging Face read it."""

import json
from collections.abc import Mapping

from tfcharlm.artefact.protocol import ExportableModel

SAMPLE_FENCE = "~~~~"


def model_card(
    model: ExportableModel,
    name: str,
    facts: Mapping[str, object] | None = None,
    sample: str | None = None,
    command: str | None = None,
    license: str | None = None,
) -> str:
    """Writes the card of a model as Markdown with a YAML header.

    Args:
        model: a `CharLM`.
        name: the name of the model, as its title.
        facts: what is known about its training, such as `{"Held-out loss": "1.33 nats"}`; None (default) for nothing.
        sample: a text that the model has written; None (default) for none.
        command: the command that trained it; None (default) for none.
        license: the licence of the text that it was trained on, such as "cc0-1.0"; None (default) if it is not known.

    Returns:
        The text of `README.md`.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.artefact import model_card
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
    >>> print(model_card(model, "letters", license="cc0-1.0").split("\\n\\n")[1])
    # letters
    """
    header = {
        "library_name": "tfcharlm",
        "pipeline_tag": "text-generation",
        "tags": ["keras", "rnn", "character-level"],
    }
    header |= {} if license is None else {"license": license}
    # JSON is YAML, and quotes whatever a text may contain.
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in header.items()),
        "---",
        "",
        f"# {_line(name)}",
        "",
    ]
    lines += ["A recurrent language model, made with [tfcharlm](https://github.com/tfcharlm/tfcharlm).", ""]
    lines += ["| | |", "|---|---|"]
    described = {"Network": _network(model), "Vocabulary": _vocabulary(model), **(facts or {})}
    described["License of the text"] = license or "not stated"
    lines += [f"| {_line(key)} | {_line(value)} |" for key, value in described.items()]
    if command is not None:
        lines += ["", "Trained by:", "", *_block(command, "sh")]
    if sample is not None:
        lines += ["", "A sample, at temperature 0.8:", "", *_block(sample, "text")]
    lines += ["", "To use it:", "", *_block(USE, "python")]
    return "\n".join(lines) + "\n"


USE = """\
import tfcharlm

model = tfcharlm.load_model("path/to/this/directory")
print(model.generate("", max_length=300, temperature=0.8))"""


def _network(model):
    cells = ", ".join(f"{type(layer.cell).__name__}({getattr(layer.cell, 'units', '')})" for layer in model.recurrent)
    members = model.wiring.members
    parameters = sum(weight.shape.num_elements() for weight in model.weights)
    return f"{cells}{f' in {members} networks' if members > 1 else ''}, {parameters:,} parameters"


def _vocabulary(model):
    vocabulary = model.vocabulary
    spells = ", which spell any other character" if vocabulary.spelling is not None else ""
    return f"{len(vocabulary):,} tokens at level {vocabulary.level}{spells}"


def _line(value):
    """One line that is no markup in a table."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)


def _block(text, language):
    """A block in which the text cannot end the block."""
    fence = SAMPLE_FENCE
    while fence in text:
        fence += "~"
    return [f"{fence}{language}", *text.splitlines(), fence]

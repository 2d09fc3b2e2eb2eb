"""The configuration of a run: every option with its default, its bounds, its meaning and what a search tries.

A new option is one field here, and the code that uses it. The options of the command line, the searches, the checks and
the help texts follow from the field. An option of `CharLM` also needs a line in `artefact/config_schema.py`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfcharlm.checks import FRACTION, Bounds
from tfcharlm.names import CELL_OPTIONS
from tfcharlm.training.schedule import SCHEDULES

BUDGETS = ("minutes", "epochs", "steps")
_POSITIVE, _COUNT = Bounds(above=0, below=2**31), Bounds(low=1, below=2**31, whole=True)


def _option(
    default: Any,
    help: str,
    values: Bounds | Sequence | None = None,
    search: Sequence | None = None,
    tunable: bool = True,
    of_model: bool = False,
) -> Any:
    """A field of `TrainingConfig`.

    Args:
        default: its value unless another one is given.
        help: its meaning, for the command line and the documentation.
        values: `Bounds`, or a list of all values; None for a switch.
        search: the values that a search tries by default; None if it only tries the default value.
        tunable: whether it is an ordinary option of the command line and of searches.
        of_model: whether it is an argument of `CharLM` with the same name.
    """
    metadata = {"help": help, "values": values, "search": search, "tunable": tunable, "of_model": of_model}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The configuration of a training run.

    Exactly one of `minutes`, `epochs` and `steps` must be given. The other defaults suit a run of a minute and a half
    on two cores; `suggest_config` finds values for longer runs.

    Raises:
        ValueError: none or several of `minutes`, `epochs` and `steps` are given, or an option is out of bounds.

    Example:

    >>> from tfcharlm.training import TrainingConfig
    >>> TrainingConfig(steps=100, units=128).learning_rate
    0.012
    >>> TrainingConfig(steps=100, dropout=1.5)
    Traceback (most recent call last):
    ValueError: dropout must be a number from 0 to below 1; received 1.5.
    """

    minutes: float | None = _option(
        None, "time to train; the schedule of the learning rate ends with it", _POSITIVE, tunable=False
    )
    epochs: int | None = _option(None, "epochs over the training text, instead of minutes", _COUNT, tunable=False)
    steps: int | None = _option(None, "updates of the weights, instead of minutes", _COUNT, tunable=False)
    level: str = _option("char", "what a token is", ["char", "byte", "word"], tunable=False)
    cell: str = _option("lstm", "kind of recurrent cell", list(CELL_OPTIONS), search=list(CELL_OPTIONS))
    units: int = _option(256, "size of each recurrent layer", _COUNT, search=[64, 128, 256, 384, 512])
    layers: int = _option(1, "number of recurrent layers", _COUNT, search=[1, 2, 3])
    embedding_dim: int = _option(64, "length of a token's vector", _COUNT, search=[16, 32, 64, 128], of_model=True)
    skip_connections: bool = _option(
        False, "upper layers also read the token vectors, and the head reads all layers", of_model=True
    )
    members: int = _option(1, "number of networks whose logits are averaged", _COUNT, of_model=True)
    cap_input_gate: bool = _option(False, "cap an LSTM's input gate at 1 - forget gate")
    dropout: float = _option(
        0.0, "fraction of the layers' outputs that is dropped", FRACTION, search=[0.0, 0.1, 0.2, 0.3], of_model=True
    )
    input_dropout: float = _option(0.0, "fraction of the token vectors that is dropped", FRACTION, of_model=True)
    weight_drop: float = _option(0.0, "fraction of the recurrent weights that is dropped", FRACTION, of_model=True)
    batch_size: int = _option(64, "number of parallel streams", _COUNT, search=[16, 32, 64, 128])
    sequence_length: int = _option(64, "number of tokens that gradients reach back", _COUNT, search=[32, 64, 128])
    state_reset_probability: float = _option(
        0.0, "probability that a chunk starts from a zero state although the text continues", FRACTION
    )
    # 0.012 and 0.02 were better than 0.008 with 256 units (docs/training-recipe.md).
    learning_rate: float = _option(0.012, "peak learning rate of Adam", _POSITIVE)
    schedule: str = _option("cosine", "learning-rate schedule after a warm-up", list(SCHEDULES), search=list(SCHEDULES))
    # 1 keeps rare steep steps from undoing many others (Pascanu et al. 2013).
    clip_norm: float = _option(1.0, "limit of the gradients' global norm", _POSITIVE, search=[0.25, 1.0, 5.0])
    # Biases do not decay (Loshchilov & Hutter 2019).
    weight_decay: float = _option(0.1, "decay of the weight matrices per step, times the learning rate", FRACTION)
    ema_momentum: float = _option(
        0.0, "momentum of the averaged weights that are evaluated and exported; 0 for none", FRACTION
    )
    fit_temperature: bool = _option(False, "divide the logits by the temperature that suits the held-out text best")
    unigram_output_bias: bool = _option(True, "initialize the output bias with the log frequencies of the tokens")
    random_start: bool = _option(True, "start every epoch at a random position in the text")
    validation_fraction: float = _option(
        0.1, "fraction of the text, at its end, that is held out", Bounds(above=0, below=1), tunable=False
    )
    seed: int = _option(
        0, "seed of weights, windows and dropout", Bounds(low=0, high=2**32 - 1, whole=True), tunable=False
    )

    def __post_init__(self) -> None:
        budgets = [f"{name}={getattr(self, name)}" for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) != 1:
            received = ", ".join(budgets) or "none of them"
            raise ValueError(
                f"exactly one of minutes, epochs and steps must be given, such as minutes=2; received {received}."
            )
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        if self.cap_input_gate and "cap_input_gate" not in CELL_OPTIONS[self.cell]:
            raise ValueError(
                f"cap_input_gate needs a cell with an input gate, such as lstm; received cell={self.cell!r}."
            )


def _checked(field, value):
    values = field.metadata["values"]
    if isinstance(values, Bounds):
        return values.check(field.name, value)
    values = [True, False] if values is None else values
    if type(value) is not type(values[0]) or value not in values:
        raise ValueError(f"{field.name} must be one of {', '.join(map(str, values))}; received {value!r}.")
    return value


OPTIONS = {field.name: field for field in dataclasses.fields(TrainingConfig)}
TUNABLE = tuple(name for name, field in OPTIONS.items() if field.metadata["tunable"])
# The values that a search tries; the defaults are among them. It also tries learning rates.
CHOICES: dict[str, list] = {
    name: OPTIONS[name].metadata["search"] for name in TUNABLE if OPTIONS[name].metadata["search"]
}
SEARCHED = (*CHOICES, "learning_rate")
# What a trained model has already.
ARCHITECTURE = (
    *("level", "cell", "units", "layers", "members", "embedding_dim", "skip_connections"),
    *sorted({name for names in CELL_OPTIONS.values() for name in names if name in OPTIONS}),
)
# What `suggest_config` chooses.
SUGGESTED = (
    "units",
    "members",
    "embedding_dim",
    "dropout",
    "input_dropout",
    "weight_drop",
    "weight_decay",
    "batch_size",
    "sequence_length",
    "state_reset_probability",
    "learning_rate",
    "fit_temperature",
)
# The same text documents the class and the options of the command line.
_ARGUMENTS = "".join(f"        {name}: {field.metadata['help']}.\n" for name, field in OPTIONS.items())
# `python -OO` removes docstrings.
TrainingConfig.__doc__ = (TrainingConfig.__doc__ or "").replace(
    "    Raises:", f"    Args:\n{_ARGUMENTS}\n    Raises:", 1
)

"""`--from`: the model that a run begins from, what it is called, and what is said of how well it fits the text."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcharlm.artefact import latest_version
from tfcharlm.model import load_model
from tfcharlm.text import DIGITS, TextSplit
from tfcharlm.training import (
    TrainingConfig,
    TrainingRun,
    fine_tuning_run,
    unigram_loss,
    weights_sha256,
    with_architecture,
)


class StartingModel:
    """A model to begin from.

    Args:
        directory: as for `load_model`.
        expected_sha256: the digest of the weights that another run began from, which this one repeats; None (default)
            for none.

    Raises:
        ValueError: there is no such model, or it cannot be loaded.
    """

    def __init__(self, directory: str, expected_sha256: str | None = None) -> None:
        self._expected = expected_sha256
        path = latest_version(directory).absolute()
        self.model = load_model(path)
        # Not the whole path, so that a run is found after the directory of its models is moved.
        self.name = f"{path.parent.name}/{path.name}" if path.name.isdecimal() else path.name

    @property
    def record(self) -> dict[str, str]:
        """Its name and the digest of its weights, for checkpoints and records."""
        return {"model": self.name, "weights_sha256": weights_sha256(self.model)}

    def options(self, given: Mapping[str, Any], level_is_given: bool) -> dict[str, Any]:
        """The options that the user gave, completed by those of the model; a ValueError if they contradict it."""
        options = {name: value for name, value in given.items() if name != "level" or level_is_given}
        return with_architecture(options, self.model)

    def described(self, run: TrainingRun) -> list[str]:
        """Lines about what is new to the model, and whether it fits the text."""
        vocabulary, known = run.split.vocabulary, self.model.vocabulary
        new = len(set(vocabulary.tokens) - set(known.tokens) - set(DIGITS))
        parts = ["its vocabulary", f"{new:,} new {'token' if new == 1 else 'tokens'}"]
        if vocabulary.spelling is not None and known.spelling is None:
            parts.append("the digits that spell all other characters")
        lines = [f"Begins from {self.name}: {', '.join(parts[:-1])} and {parts[-1]}."]
        found = weights_sha256(self.model)
        if self._expected not in (None, found):
            lines.append(
                "The run of --config began from another model: its weights had the SHA-256 "
                f"{self._expected!s:.12}, and these have {found:.12}."
            )
        if run.start is not None and run.start.val_loss >= unigram_loss(run.split):
            lines.append(
                f"Without training, {self.name} predicts this text worse than the frequencies of its tokens do. A new "
                "model, without --from, may end better."
            )
        return lines


def make_run(
    split: TextSplit,
    given: Mapping[str, Any],
    start: StartingModel | None,
    strategy: tf.distribute.Strategy,
    earlier: Mapping[str, Any] | None,
    elapsed: float,
) -> TrainingRun:
    """The run of a command: from a model or from random weights; the rest is as in `fine_tuning_run`."""
    if start is not None:
        return fine_tuning_run(split, given, start.model, start.name, strategy, earlier)
    if given.get("minutes") is None:
        return TrainingRun(split, TrainingConfig(**given), strategy=strategy)
    return TrainingRun.with_suggested_size(split, given, strategy, earlier, elapsed)

"""The files about its training that are exported with a model: the learning curve, its picture, and training.json."""

import csv
import dataclasses
import io
import json

import rich.console

from tfcharlm import plots
from tfcharlm.artefact import LEARNING_CURVE, LEARNING_CURVE_IMAGE, TRAINING
from tfcharlm.training import Evaluation, TrainingConfig, TrainingResult


def training_records(
    console: rich.console.Console, source: dict[str, object], config: TrainingConfig, result: TrainingResult
) -> dict[str, bytes]:
    """What is exported with the model about its training: `{file name: bytes}`."""
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in dataclasses.fields(Evaluation)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, result.history))
    outcome = {"val_loss": result.val_loss, "val_bits_per_character": result.val_bits_per_character}
    training = {**source, **dataclasses.asdict(config), **outcome, "interrupted": result.interrupted}
    records = {
        LEARNING_CURVE: table.getvalue().encode(),
        TRAINING: json.dumps(training, indent=1).encode(),
    }
    try:
        records[LEARNING_CURVE_IMAGE] = plots.image(plots.learning_curve(result.history))
    except ImportError as error:
        console.print(f"There is no picture of the learning curve: {error}")
    return records

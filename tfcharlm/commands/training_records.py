"""The files about its training that are exported with a model: the learning curve, its picture, and training.json."""

import csv
import dataclasses
import io
import json
import shlex
import sys
import time

import rich.console

from tfcharlm import plots
from tfcharlm.artefact import LEARNING_CURVE, LEARNING_CURVE_IMAGE, TRAINING, model_card
from tfcharlm.commands.small_text import Baseline
from tfcharlm.training import Evaluation, TrainingResult, TrainingRun

# Tokens of the sample in a model card.
SAMPLE_LENGTH = 400


def training_records(
    console: rich.console.Console,
    source: dict[str, object],
    run: TrainingRun,
    result: TrainingResult,
    baseline: Baseline | None = None,
) -> dict[str, bytes]:
    """What is exported with the model about its training: `{file name: bytes}`."""
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in dataclasses.fields(Evaluation)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, result.history))
    outcome = {"val_loss": result.val_loss, "val_bits_per_character": result.val_bits_per_character}
    origin = {"from": run.began_from} if run.began_from else {}
    training = {**source, **origin, **dataclasses.asdict(run.config), **outcome, "interrupted": result.interrupted}
    training |= {
        "ended_early": result.ended_early,
        "temperature": result.temperature,
        "kneser_ney": None if baseline is None else baseline._asdict(),
    }
    records = {
        LEARNING_CURVE: table.getvalue().encode(),
        TRAINING: json.dumps(training, indent=1).encode(),
    }
    try:
        records[LEARNING_CURVE_IMAGE] = plots.image(plots.learning_curve(result.history))
    except ImportError as error:
        console.print(f"There is no picture of the learning curve: {error}")
    return records


def training_card(run: TrainingRun, result: TrainingResult, name: str, corpus: str, license: str | None) -> str:
    """The model card of a run: the corpus with its sum, the losses, the date, the command, and a sample."""
    split, steps = run.split, result.steps
    facts: dict[str, object] = {
        "Corpus": f"{corpus}: {split.description}",
        "SHA-256 of its token ids": split.sha256,
        "Steps": f"{steps:,} of {run.config.batch_size} x {run.config.sequence_length} tokens",
        "Date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if result.val_loss is not None:
        losses = f"{result.val_loss:.4f} nats per token, {result.val_bits_per_character:.4f} bits per character"
        facts["Loss on held-out text"] = losses
    model, end = result.model, split.item_end
    begin = "" if model.vocabulary.line_start else model.vocabulary.decode([0])
    stop = None if end is None else [end]
    sample = model.generate(begin, max_length=SAMPLE_LENGTH, temperature=0.8, seed=0, stop=stop)
    return model_card(model, name, facts, sample, shlex.join(["tfcharlm", *sys.argv[1:]]), license)

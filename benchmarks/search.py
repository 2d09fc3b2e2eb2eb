"""The gain of a search: its best configuration and the defaults, trained in turn with new seeds.

    tfcharlm tune shakespeare --tuner bayesian --minutes 0.75 --trials 20 --name tuned
    python benchmarks/search.py saved_models/tuned

Both are evaluated on the second half of the held-out text, which is read neither by a search nor when a run chooses its
best weights. Each run is a process of its own.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from alternating import environment

SEEDS = (1, 2, 3)


def train(settings, seed):
    """`(loss, updates)`: the loss in nats per token on the second half of the held-out text, and how many updates."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    from tfcharlm import configure_threads
    from tfcharlm.text import TextSplit, load_corpus, stream_dataset
    from tfcharlm.training import TrainingConfig, TrainingRun

    configure_threads()
    names = {field.name for field in dataclasses.fields(TrainingConfig)}
    config = TrainingConfig(**{name: value for name, value in settings.items() if name in names} | {"seed": seed})
    split = TextSplit.from_text(load_corpus(settings["corpus"]), config.level, config.validation_fraction)
    run = TrainingRun(split, config)
    half = len(split.validation_ids) // 2
    if int(run.evaluation_data.cardinality()) * config.batch_size * config.sequence_length > half:
        raise SystemExit(
            "the best weights would be chosen on the text that they are evaluated on; take smaller batches."
        )
    result = run.train()
    rest = split.validation_ids[half:]
    measured = result.model.evaluate(stream_dataset(rest, 64, 64, drop_remainder=False), verbose=0, return_dict=True)
    return measured["loss"], result.steps


def in_a_process(settings, seed):
    command = [sys.executable, __file__, "--train", json.dumps(settings), str(seed)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def main(model):
    best = json.loads(Path(model, "1", "assets.extra", "training.json").read_text())
    kept = ("corpus", "minutes", "steps", "level", "validation_fraction")
    candidates = {"defaults": {name: best[name] for name in kept}, f"trial {best['trial']}": best}
    print(environment())
    print("\n| seed | " + " | ".join(candidates) + " |\n|---|" + "---|" * len(candidates))
    losses = {name: [] for name in candidates}
    for seed in SEEDS:
        cells = []
        for name, settings in candidates.items():
            loss, steps = in_a_process(settings, seed)
            losses[name].append(loss)
            cells.append(f"{loss:.4f} ({steps} updates)")
        print(f"| {seed} | " + " | ".join(cells) + " |", flush=True)
    print("| mean | " + " | ".join(f"{statistics.mean(values):.4f}" for values in losses.values()) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the best configuration of a search and the defaults again.")
    parser.add_argument(
        "model", nargs="?", help="the directory of a model from tfcharlm tune, such as saved_models/tuned"
    )
    parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)  # a process of this script: settings and a seed
    arguments = parser.parse_args()
    if arguments.train:
        print(json.dumps(train(json.loads(arguments.train[0]), int(arguments.train[1]))))
    elif not arguments.model or not Path(arguments.model, "1", "assets.extra", "training.json").is_file():
        parser.error("type the directory of a model from tfcharlm tune, such as saved_models/tuned.")
    else:
        main(arguments.model)

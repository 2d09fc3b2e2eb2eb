"""What a small text is learned with best: one run on the start of a text, beside Kneser-Ney n-grams.

    python benchmarks/small_texts.py FILE --size 20000                             # what is chosen by itself
    python benchmarks/small_texts.py FILE --size 20000 --units 64 --dropout 0.25   # or any option of `tfcharlm train`

A run has 48 seconds of processor time, added up over its threads, so that other programs on the machine matter less.
The best evaluation and the order of the n-grams are chosen on the text that the losses are of. The text is its first
bytes, up to the end of a line. What is chosen by itself is chosen for a fixed speed of the machine.
"""

import argparse
import math
import time
from pathlib import Path

from tfcharlm.analysis import kneser_ney_losses
from tfcharlm.text import TextSplit
from tfcharlm.training import OPTIONS, TUNABLE, Budget, TrainingConfig, TrainingRun, suggest_config

SECONDS, SPEED, EVALUATIONS = 48, 1.6e11, 24
SHOWN = ("units", "dropout", "weight_drop", "input_dropout", "weight_decay", "batch_size")


def start_of(path, size):
    """The first bytes of a text, up to the end of a line."""
    start = path.read_bytes()[:size]
    return start[: start.rfind(b"\n") + 1].decode()


def run(split, given):
    """(the configuration, the learning curve, epochs)."""
    tokens, characters = len(split.train_ids), split.train_characters
    suggested = suggest_config(60, SPEED, tokens, len(split.vocabulary), characters, units=given.get("units"))
    config = TrainingConfig(minutes=1, **{**suggested, **given})
    training = TrainingRun(split, config)
    budget = Budget(SECONDS, clock=time.process_time)
    evaluations, _ = training.fit(budget, num_evaluations=EVALUATIONS, pause_clock_during_evaluation=True)
    return config, evaluations.history, evaluations.steps * evaluations.tokens_per_step / tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, default=20_000, help="bytes of the text")
    for name in TUNABLE:
        kind = type(OPTIONS[name].default)
        if kind in (int, float, str):
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    arguments = vars(parser.parse_args())
    split = TextSplit.from_text(start_of(arguments.pop("file"), arguments.pop("size")))
    config, history, epochs = run(split, {name: value for name, value in arguments.items() if value is not None})
    losses = kneser_ney_losses([split.train_ids], [split.validation_ids], len(split.vocabulary))
    order = min(losses, key=losses.get)
    losses_of_model = [evaluation.val_bits_per_character for evaluation in history]
    print(", ".join(f"{name} {getattr(config, name)}" for name in SHOWN), f"{epochs:.1f} epochs", sep=", ")
    print("validation:", *(f"{loss:.3f}" for loss in losses_of_model))
    print(
        f"bits per character: best {min(losses_of_model):.3f}, last {losses_of_model[-1]:.3f}, "
        f"Kneser-Ney {order}-gram {losses[order] / math.log(2):.3f}"
    )


if __name__ == "__main__":
    main()

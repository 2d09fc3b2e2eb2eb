"""What dynamic evaluation gains on held-out texts, by learning rate, decay and segment length, and what it costs.

    python benchmarks/dynamic_evaluation.py saved_models/a=a.txt saved_models/b=b.txt --rates 0.0005 0.001

Every model is followed by the file that it was trained on, and reads the held-out tenth of it, or the first `--tokens`
of that. The table goes to benchmarks/results/dynamic_evaluation.md. PPMd reads the text to train on first, and learns
while it reads, too; so does zpaq (`pip install pyppmd zpaq`).
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
from alternating import environment
from compressors import ppmd_bits, zpaq_bits

import tfcharlm
from tfcharlm.text import split_corpus

RESULTS = Path(__file__).parent / "results" / "dynamic_evaluation.md"


def seconds(function):
    """The time of the second call, and its result: the first one compiles."""
    function()
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


def rows(model, name, text, held_out, settings):
    """The lines of the table for one model."""
    characters = len(held_out)
    score_time, static = seconds(lambda: model.score(held_out))
    peers = ppmd_bits(text[: len(text) - characters], held_out), zpaq_bits(text[: len(text) - characters], held_out)
    for rate, decay, segment in settings:
        reader = tfcharlm.DynamicEvaluation(model, rate, decay, segment)

        def read(reader=reader):
            reader.reset()
            return reader.read(held_out)

        adaptive_time, nats = seconds(read)
        bits = -nats.sum() / np.log(2) / characters
        yield (
            f"| {name} | {characters:,} | {rate:g} | {decay:g} | {segment} | {static['bits_per_character']:.4f} "
            f"| {bits:.4f} | {peers[0]:.4f} | {peers[1]:.4f} | {adaptive_time / score_time:.2f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", help="MODEL=TEXT")
    parser.add_argument("--rates", type=float, nargs="*", default=[0.0004, 0.0008, 0.0016])
    parser.add_argument("--decays", type=float, nargs="*", default=[0.002, 0.005, 0.015])
    parser.add_argument("--segments", type=int, nargs="*", default=[40])
    parser.add_argument("--tokens", type=int, default=100_000, help="of each held-out text at most")
    options = parser.parse_args()
    lines = [
        environment(),
        "",
        "Bits per character.",
        "",
        "| text | characters | learning rate | decay | segment | static | adaptive | PPMd | zpaq | time / score |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    settings = list(itertools.product(options.rates, options.decays, options.segments))
    for pair in options.models:
        directory, _, path = pair.partition("=")
        model = tfcharlm.load_model(directory)
        split = split_corpus(path, known=model.vocabulary)
        held_out = split.vocabulary.decode(split.validation.ids[: options.tokens])
        before = split.vocabulary.decode(split.train.ids)
        for line in rows(model, Path(path).parent.name or Path(path).stem, before + held_out, held_out, settings):
            print(line, flush=True)
            lines.append(line)
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What dynamic evaluation gains on held-out texts, by learning rate, decay and segment length, and what it costs.

    python benchmarks/dynamic_evaluation.py plays=saved_models/plays=plays.txt names=saved_models/names=names.txt

Every model has a name for the table, and the file that it was trained on. It reads the held-out tenth of that, or the
first `--tokens` of it. The table goes to benchmarks/results/dynamic_evaluation.md.

PPMd and zpaq (`pip install pyppmd zpaq`) read the text to train on first, and learn while they read, too.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from alternating import environment
from compressors import ppmd_bits, zpaq_bits

import tfcharlm
from tfcharlm.text import split_corpus

# One of the three changes at a time.
SETTINGS = (
    *("0.0004,0.005,40", "0.0008,0.005,40", "0.0016,0.005,40", "0.0008,0.002,40", "0.0008,0.015,40"),
    *("0.0008,0.005,20", "0.0008,0.005,80"),
)
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
    parser.add_argument("models", nargs="+", help="NAME=MODEL=TEXT")
    parser.add_argument("--settings", nargs="*", default=SETTINGS, help="learning rate, decay, segment length")
    parser.add_argument("--tokens", type=int, default=100_000, help="of each held-out text at most")
    options = parser.parse_args()
    tfcharlm.configure_threads()
    lines = [
        environment(),
        "",
        "Bits per character.",
        "",
        "| text | characters | learning rate | decay | segment | static | adaptive | PPMd | zpaq | time / score |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    settings = [
        (float(rate), float(decay), int(size)) for rate, decay, size in (s.split(",") for s in options.settings)
    ]
    for given in options.models:
        name, directory, path = given.split("=")
        model = tfcharlm.load_model(directory)
        split = split_corpus(path, known=model.vocabulary)
        held_out = split.vocabulary.decode(split.validation.ids[: options.tokens])
        before = split.vocabulary.decode(split.train.ids)
        for line in rows(model, name, before + held_out, held_out, settings):
            print(line, flush=True)
            lines.append(line)
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a cell of one's own costs: the cells of `examples/cells` and the GRU, in a training step and in writing.

    python benchmarks/cells.py                          # about 20 minutes
    python benchmarks/cells.py gru                      # the GRU, against Keras and PyTorch
    python benchmarks/cells.py peephole_lstm            # one of the examples

Results go to benchmarks/results/cells.md. All kernels are those of TensorFlow, unless a row says that they are native:
there are native ones for the cells of the package only.
"""

import argparse
from pathlib import Path

from alternating import Candidate, environment, measure
from candidates import keras_step, torch_step
from sampling_loops import char_lm, one_step
from training_step import ONEDNN

RESULTS = Path(__file__).parent / "results"
EXAMPLES = sorted(path.stem for path in (Path(__file__).parents[1] / "examples" / "cells").glob("*.py"))
SIZES = {"units": 256, "batch": 64, "length": 64}
# One text and many: with one, a step is the reading of a matrix; with many, its products.
STREAMS, CHARACTERS = (1, 64), 400
PURE = ONEDNN | {"TFCHARLM_NATIVE": "0"}


def training(rounds, names):
    """A table of training steps of the examples, beside that of `LSTMCell`."""
    candidates = [Candidate("lstm", keras_step, SIZES | {"layer": "tfcharlm"}, PURE)]
    for name in names:
        cell = SIZES | {"cell": name}
        candidates += [
            Candidate(f"{name}, tfcharlm", keras_step, cell | {"layer": "tfcharlm"}, PURE),
            Candidate(f"{name}, loop", keras_step, cell | {"layer": "loop", "threads": False}),
            Candidate(f"{name}, loop, our threads", keras_step, cell | {"layer": "loop"}, PURE),
        ]
    timings = measure(candidates, rounds)
    plain = timings["lstm"].median
    head = "| cell | kernel, ms | / kernel of `LSTMCell` | in `keras.layers.RNN`, ms | / kernel"
    yield f"{head} | with our threads | / kernel |"
    yield "|---|---|---|---|---|---|---|"
    yield f"| `LSTMCell` | {plain * 1e3:.1f} | 1.00 | | | | |"
    for name in names:
        ours, loop, same = (timings[f"{name}, {which}"].median for which in ("tfcharlm", "loop", "loop, our threads"))
        loops = " | ".join(f"{seconds * 1e3:.1f} | {seconds / ours:.2f}" for seconds in (loop, same))
        yield f"| {name} | {ours * 1e3:.1f} | {ours / plain:.2f} | {loops} |"


def writing(rounds, names):
    """A table of characters per second of all texts together."""
    yield "| cell, texts | `CharLM.generate`, characters/s | step of `keras.layers.RNN`, characters/s | ratio |"
    yield "|---|---|---|---|"
    for name in names:
        for streams in STREAMS:
            sizes = {"units": SIZES["units"], "streams": streams, "length": CHARACTERS, "cell": name}
            timings = measure([Candidate("ours", char_lm, sizes, PURE), Candidate("step", one_step, sizes)], rounds)
            ours, step = (streams * CHARACTERS / timings[which].median for which in ("ours", "step"))
            yield f"| {name}, {streams} | {ours:,.0f} | {step:,.0f} | {ours / step:.1f} |"


def gru(rounds):
    """A table of training steps of GRUs."""
    sizes, half = SIZES | {"cell": "gru"}, {"dtype": "mixed_bfloat16"}
    candidates = [
        Candidate("tfcharlm.RNN(GRUCell)", keras_step, sizes | {"layer": "tfcharlm"}, PURE),
        Candidate("tfcharlm.RNN(GRUCell), native", keras_step, sizes | {"layer": "tfcharlm"}, ONEDNN),
        Candidate("Keras", keras_step, sizes),
        Candidate("Keras, oneDNN", keras_step, sizes, ONEDNN),
        Candidate("Keras, XLA", keras_step, sizes | {"jit": True}),
        Candidate("Keras, unrolled, oneDNN", keras_step, sizes | {"unroll": True}, ONEDNN),
        Candidate("Keras, bfloat16, oneDNN", keras_step, sizes | half, ONEDNN),
        Candidate("Keras, unrolled, bfloat16, oneDNN", keras_step, sizes | half | {"unroll": True}, ONEDNN),
        Candidate("PyTorch", torch_step, sizes),
        Candidate("PyTorch, one thread", torch_step, sizes | {"threads": 1}),
    ]
    timings = measure(candidates, rounds)
    ours = timings["tfcharlm.RNN(GRUCell)"].median
    yield "| GRU | ms | / ours |"
    yield "|---|---|---|"
    for name, timing in timings.items():
        yield f"| {name} | {timing.error[:90] or f'{timing.median * 1e3:.1f}'} | {timing.median / ours:.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", choices=["gru", *EXAMPLES, []], help="gru, or examples; all by default")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    chosen = arguments.cells or ["gru", *EXAMPLES]
    names = [name for name in chosen if name != "gru"]
    tables = [training(arguments.rounds, names), writing(max(5, arguments.rounds // 3), names)] if names else []
    tables += [gru(arguments.rounds)] if "gru" in chosen else []
    lines = [environment(), "", f"256 units, batch 64, length 64; medians of {arguments.rounds} rounds.", ""]
    for table in tables:
        for line in table:
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cells.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()

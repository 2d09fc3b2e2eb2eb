"""How long models of tfcharlm, Keras and PyTorch take to read a long text without training.

    python benchmarks/inference.py                      # about 12 minutes

Results go to benchmarks/results/inference.md.
"""

from pathlib import Path

from alternating import Candidate, environment, measure
from candidates import char_lm_step, keras_step, torch_step
from training_step import ONEDNN

RESULTS = Path(__file__).parent / "results"
SIZES = [(256, 1, 2048), (512, 1, 1024), (256, 16, 2048), (512, 16, 1024)]
ROUNDS = 15


def candidates(units, batch, length):
    sizes = {"units": units, "batch": batch, "length": length, "training": False}
    half = sizes | {"dtype": "mixed_bfloat16"}
    yield Candidate("CharLM", char_lm_step, sizes, ONEDNN)
    yield Candidate("CharLM, kernels of TensorFlow", char_lm_step, sizes, ONEDNN | {"TFCHARLM_NATIVE": "0"})
    yield Candidate("tfcharlm.RNN", keras_step, sizes | {"layer": "tfcharlm"}, ONEDNN)
    yield Candidate("tfcharlm.RNN, XLA", keras_step, sizes | {"layer": "tfcharlm", "jit": True}, ONEDNN)
    yield Candidate("Keras", keras_step, sizes)
    yield Candidate("Keras, oneDNN", keras_step, sizes, ONEDNN)
    yield Candidate("Keras, bfloat16", keras_step, half)
    yield Candidate("Keras, XLA", keras_step, sizes | {"jit": True})
    yield Candidate("PyTorch", torch_step, sizes)


def main():
    rows = []
    for units, batch, length in SIZES:
        timings = measure(list(candidates(units, batch, length)), ROUNDS)
        best = min(t.median for n, t in timings.items() if n.startswith("Keras") and t.seconds)
        if not rows:
            rows = [f"| units x batch x length | {' | '.join(timings)} | best Keras / CharLM |"]
            rows.append("|---|" + "---|" * (len(timings) + 1))
        cells = " | ".join(f"{t.median * 1e3:.0f} ms" for t in timings.values())
        rows.append(f"| {units}x{batch}x{length} | {cells} | {best / timings['CharLM'].median:.2f} |")
        print("\n".join(rows), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "inference.md").write_text("\n".join([environment(), "", *rows, ""]))


if __name__ == "__main__":
    main()

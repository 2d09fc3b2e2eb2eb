"""Does training with bfloat16 products reach the same loss as training in float32, after the same number of steps?

    python benchmarks/bfloat16.py [CORPUS] [--steps 500]        # tinyshakespeare by default, about 6 minutes

The last tenth of the text is held out. Results go to benchmarks/results/bfloat16.md.
"""

import argparse
import os
from pathlib import Path

from alternating import environment

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)


def held_out_loss(text, dtype, seed, steps):
    import keras

    import tfcharlm

    keras.config.set_dtype_policy(dtype)
    keras.utils.set_random_seed(seed)
    vocabulary = tfcharlm.text.Vocabulary.from_text(text, spell=False)
    ids = vocabulary.encode(text)
    border = len(ids) * 9 // 10
    train = tfcharlm.text.stream_dataset(ids[:border], 64, 64, seed=seed, epochs=None)
    held_out = tfcharlm.text.stream_dataset(ids[border:], 16, 64)
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(256)], 64)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(8e-3, steps), global_clipnorm=1.0))
    model.fit(train, steps_per_epoch=steps, verbose=0)
    return model.evaluate(held_out, verbose=0, return_dict=True)["loss"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", default="tinyshakespeare")
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()

    import tfcharlm

    tfcharlm.configure_threads()
    text = tfcharlm.text.load_corpus(arguments.corpus)
    lines = ["| seed | float32 | mixed_bfloat16 | difference |", "|---|---|---|---|"]
    differences = []
    for seed in SEEDS:
        full, half = (held_out_loss(text, dtype, seed, arguments.steps) for dtype in ("float32", "mixed_bfloat16"))
        differences.append(half - full)
        lines.append(f"| {seed} | {full:.4f} | {half:.4f} | {half - full:+.4f} |")
        print(lines[-1], flush=True)
    mean = sum(differences) / len(differences)
    title = (
        f"Held-out loss in nats per character after {arguments.steps} steps (LSTM of 256 units, 64 streams, 64 steps "
        f"of back-propagation; text of {len(text):,} characters). {environment()}"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "bfloat16.md").write_text("\n".join([title, "", *lines, f"| mean | | | {mean:+.4f} |", ""]))


if __name__ == "__main__":
    main()

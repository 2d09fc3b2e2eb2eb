"""How fast models generate text: tfcharlm from Python and from a SavedModel, and the loops of Keras and PyTorch.

    python benchmarks/sampling.py                       # about 10 minutes

Results go to benchmarks/results/sampling.md.
"""

from pathlib import Path

from alternating import Candidate, environment, measure
from sampling_loops import char_lm, new_lengths, one_step, predict, torch_loop

RESULTS = Path(__file__).parent / "results"
ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}
UNITS, STREAMS, LENGTH = (256, 512), (1, 16, 64), 400
# `model.predict` reads the whole text again for every character, which takes too long at full length.
PREDICTED = 40
ROUNDS = 9


def candidates(units, streams):
    sizes = {"units": units, "streams": streams, "length": LENGTH}
    yield Candidate("CharLM.generate", char_lm, sizes, ONEDNN)
    yield Candidate("SavedModel", char_lm, sizes | {"exported": True}, ONEDNN)
    yield Candidate("prompts of new lengths", new_lengths, sizes, ONEDNN)
    yield Candidate("torch LSTMCell", torch_loop, sizes)
    yield Candidate("torch LSTMCell, 1 thread", torch_loop, sizes | {"threads": 1})
    yield Candidate("torch LSTM", torch_loop, sizes | {"layer": "LSTM"})
    yield Candidate("torch LSTM, 1 thread", torch_loop, sizes | {"layer": "LSTM", "threads": 1})
    yield Candidate("one step, compiled", one_step, sizes)
    if units == UNITS[0]:
        yield Candidate("model.predict", predict, sizes | {"length": PREDICTED})


def main():
    lines = ["Characters per second of all streams together, medians; in brackets, seconds of the first call.", ""]
    for units in UNITS:
        for streams in STREAMS:
            timings = measure(list(candidates(units, streams)), ROUNDS)
            speeds = {
                name: streams * (PREDICTED if name == "model.predict" else LENGTH) / timing.median
                for name, timing in timings.items()
            }
            ours = speeds["CharLM.generate"]
            lines += [
                f"### {units} units, {streams} streams",
                "",
                "| | characters / s | CharLM.generate is faster by |",
            ]
            lines += ["|---|---|---|"]
            for name, speed in speeds.items():
                if timings[name].error:
                    lines.append(f"| {name} | {timings[name].error[:90]} | |")
                    continue
                lines.append(f"| {name} | {speed:,.0f} ({timings[name].first_call:.1f}) | {ours / speed:.1f} |")
            slowest = max(timings["prompts of new lengths"].seconds)
            lines += ["", f"The slowest text with a prompt of a new length took {slowest:.3f} s.", ""]
            print("\n".join(lines[-len(speeds) - 7 :]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sampling.md").write_text("\n".join([environment(), "", *lines]))


if __name__ == "__main__":
    main()

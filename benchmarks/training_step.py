"""How long one training step takes in tfcharlm, Keras and PyTorch, and with TensorFlow's BlockLSTMV2.

    python benchmarks/training_step.py                  # the three LSTM sizes and the vanilla RNN, about 35 minutes
    python benchmarks/training_step.py 256x64x64        # one size: units x batch x length
    python benchmarks/training_step.py --avx2           # with AVX2 on a processor that has AVX-512
    python benchmarks/training_step.py --sweep          # cost against batch, length and width, about 15 minutes

Results go to benchmarks/results/, as JSON, a Markdown table and a plot. The extra `bench` installs PyTorch.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from alternating import Candidate, environment, measure
from candidates import EMBEDDING, SYMBOLS, char_lm_step, keras_step, product_peak, torch_step

RESULTS = Path(__file__).parent / "results"
SIZES = ["256x64x64", "512x64x64", "512x128x128"]
# TensorFlow turns oneDNN on by itself only on processors with newer vector instructions. Keras is also measured with
# it.
ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "1"}
# What keeps tfcharlm, oneDNN (TensorFlow and PyTorch), MKL and PyTorch's own code from vectors wider than AVX2.
AVX2 = {
    "TFCHARLM_NATIVE": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}


def step_candidates(units, batch, length, cell):
    """All candidates. Only short sequences are unrolled or compiled with XLA; long ones take minutes to compile."""
    sizes = {"units": units, "batch": batch, "length": length, "cell": cell}
    half = {"dtype": "mixed_bfloat16"}

    def keras(name, environment=None, **arguments):
        return Candidate(name, keras_step, sizes | arguments, environment or {})

    def char_lm(name, environment=None, **arguments):
        return Candidate(name, char_lm_step, sizes | arguments, environment or {})

    yield Candidate("product", product_peak, environment=ONEDNN)
    yield char_lm("CharLM", ONEDNN)
    yield char_lm("CharLM, kernels of TensorFlow", ONEDNN | {"TFCHARLM_NATIVE": "0"})
    yield char_lm("CharLM, fit", ONEDNN, fit=True)
    yield char_lm("CharLM, bfloat16", ONEDNN, **half)
    yield char_lm("CharLM, oneDNN as installed")
    yield char_lm("CharLM, threads and oneDNN as TensorFlow has them", threads=False)
    yield keras("tfcharlm.RNN", ONEDNN, layer="tfcharlm")
    yield keras("Keras")
    yield keras("Keras, oneDNN", ONEDNN)
    yield keras("Keras, bfloat16", **half)
    yield keras("Keras, bfloat16, oneDNN", ONEDNN, **half)
    if length <= 64:
        yield keras("Keras, XLA", jit=True)
        yield keras("Keras, XLA, bfloat16", jit=True, **half)
        yield keras("Keras, unrolled, oneDNN", ONEDNN, unroll=True)
        yield keras("Keras, unrolled, bfloat16, oneDNN", ONEDNN, unroll=True, **half)
    if cell == "lstm":
        yield keras("BlockLSTMV2", layer="block")
    yield Candidate("PyTorch", torch_step, sizes)
    yield Candidate("PyTorch, one thread", torch_step, sizes | {"threads": 1})
    yield Candidate("PyTorch, bfloat16", torch_step, sizes | {"dtype": "bfloat16"})


def products(units, batch, length, cell):
    """The multiplications and additions in the matrix products of a step, forward and backward."""
    columns = units * {"lstm": 4, "rnn": 1}[cell]
    return 3 * 2 * batch * length * ((EMBEDDING + units) * columns + units * SYMBOLS)


def ratios(timings):
    """The comparison: `{name: how many times as long as CharLM}`."""

    def best(dtypes, settings):
        """The fastest Keras, in float32 or any dtype, with TensorFlow as installed or also with oneDNN turned on."""
        names = [n for n, t in timings.items() if n.startswith("Keras") and t.seconds]
        names = [n for n in names if dtypes == "any dtype" or "bfloat16" not in n]
        names = [n for n in names if settings == "with oneDNN" or "oneDNN" not in n]
        name = min(names, key=lambda n: timings[n].median)
        return f"best Keras, {dtypes}, {settings} ({name})", timings[name].median

    def against(theirs, ours):
        label, seconds = theirs if isinstance(theirs, tuple) else (theirs, timings[theirs].median)
        return f"{label} / {ours}", seconds / timings[ours].median

    torch = min(("PyTorch", "PyTorch, one thread"), key=lambda name: timings[name].median)
    return dict(
        [
            against("CharLM, kernels of TensorFlow", "CharLM"),
            against(torch, "CharLM"),
            against(best("any dtype", "with oneDNN"), "CharLM"),
            against(best("float32", "with oneDNN"), "CharLM"),
            against(best("float32", "as installed"), "CharLM"),
            against(best("float32", "as installed"), "CharLM, oneDNN as installed"),
            against(best("any dtype", "with oneDNN"), "CharLM, bfloat16"),
            against(best("any dtype", "as installed"), "CharLM, bfloat16"),
            against("PyTorch, bfloat16", "CharLM, bfloat16"),
            against("CharLM, fit", "CharLM"),
        ]
    )


def run(size, cell, rounds, limits):
    units, batch, length = map(int, size.split("x"))
    candidates = [
        dataclasses.replace(candidate, environment=limits | candidate.environment)
        for candidate in step_candidates(units, batch, length, cell)
    ]
    timings = measure(candidates, rounds)
    peak = timings.pop("product").median
    work = products(units, batch, length, cell)
    rows = {}
    for name, timing in timings.items():
        rows[name] = {
            "milliseconds": timing.median * 1e3,
            "fastest": min(timing.seconds, default=float("nan")) * 1e3,
            "share_of_peak": work * peak / timing.median,
            "first_call_seconds": timing.first_call,
            "peak_mib": timing.peak_mib,
            "error": timing.error,
        }
    return {"cell": cell, "size": size, "gflops": 1e-9 / peak, "steps": rows, "ratios": ratios(timings)}


def table(result):
    lines = [
        f"### {result['cell']}, {result['size']} (units x batch x length); "
        f"large products: {result['gflops']:.0f} GFLOP/s",
        "",
        "| | ms | fastest | / CharLM | share of peak | first call, s | peak, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = result["steps"]["CharLM"]["milliseconds"]
    for name, row in result["steps"].items():
        if row["error"]:
            lines.append(f"| {name} | {row['error'][:90]} | | | | | |")
            continue
        lines.append(
            f"| {name} | {row['milliseconds']:.1f} | {row['fastest']:.1f} | {row['milliseconds'] / ours:.2f} | "
            f"{row['share_of_peak']:.0%} | {row['first_call_seconds']:.1f} | {row['peak_mib']:.0f} |"
        )
    return [*lines, "", *(f"- {name}: {ratio:.2f}" for name, ratio in result["ratios"].items()), ""]


def sweep(rounds):
    """`[{"axis", "value", "tfcharlm.RNN", "Keras", ...}]`: milliseconds of a step along each axis, in float32."""
    base = {"units": 256, "batch": 16, "length": 64}
    axes = {
        "length": [16, 128, 2048],
        "batch": [1, 4, 16, 64, 512],
        "units": [64, 1024],
    }
    points = []
    for axis, values in axes.items():
        for value in values:
            sizes = base | {axis: value}
            ours = sizes | {"layer": "tfcharlm"}
            candidates = [
                Candidate("tfcharlm.RNN", keras_step, ours, ONEDNN),
                Candidate("tfcharlm.RNN, kernels of TensorFlow", keras_step, ours, ONEDNN | {"TFCHARLM_NATIVE": "0"}),
                Candidate("Keras", keras_step, sizes),
                Candidate("Keras, oneDNN", keras_step, sizes, ONEDNN),
                Candidate("Keras, XLA", keras_step, sizes | {"jit": True}),
            ]
            timings = measure(candidates, rounds)
            points.append({"axis": axis, "value": value} | {n: t.median * 1e3 for n, t in timings.items()})
            print(points[-1], flush=True)
    return points


def sweep_table(points):
    names = [name for name in points[0] if name not in ("axis", "value")]
    lines = [f"| | {' | '.join(f'{n}, ms' for n in names)} | best Keras / ours |", "|---|" + "---|" * (len(names) + 1)]
    for point in points:
        best = min(point[name] for name in names if name.startswith("Keras"))
        cells = " | ".join(f"{point[name]:.2f}" for name in names)
        lines.append(f"| {point['axis']} {point['value']} | {cells} | {best / point[names[0]]:.2f} |")
    return [*lines, ""]


def plot(points, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = list(dict.fromkeys(point["axis"] for point in points))
    figure, plots = pyplot.subplots(1, len(axes), figsize=(12, 3.6), layout="constrained")
    for axis, axes_plot in zip(axes, plots, strict=True):
        of_axis = [point for point in points if point["axis"] == axis]
        for name in (name for name in of_axis[0] if name not in ("axis", "value")):
            axes_plot.plot([p["value"] for p in of_axis], [p[name] for p in of_axis], marker="o", label=name)
        axes_plot.set(xscale="log", yscale="log", xlabel=axis, ylabel="ms per training step")
        axes_plot.set_xscale("log", base=2)
        axes_plot.grid(alpha=0.3)
    plots[0].legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=SIZES, help="units x batch x length, such as 256x64x64")
    parser.add_argument("--cell", choices=["lstm", "rnn"], help="measure one kind of cell instead of both")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--avx2", action="store_true", help="keep all libraries from wider vectors than AVX2")
    parser.add_argument("--sweep", action="store_true", help="measure the cost against batch, length and width instead")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if arguments.sweep:
        name, results = "sweep", sweep(arguments.rounds)
        lines = sweep_table(results)
        plot(results, RESULTS / "sweep.png")
    else:
        name, results, lines = "training_step-avx2" if arguments.avx2 else "training_step", [], []
        runs = [(size, arguments.cell or "lstm") for size in arguments.sizes]
        runs += [] if arguments.cell else [(arguments.sizes[0], "rnn")]
        for size, cell in runs:
            results.append(run(size, cell, arguments.rounds, AVX2 if arguments.avx2 else {}))
            lines += table(results[-1])
            print("\n".join(table(results[-1])), flush=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"environment": environment(), "results": results}, indent=1))
    (RESULTS / f"{name}.md").write_text("\n".join([environment(), "", *lines]))


if __name__ == "__main__":
    main()

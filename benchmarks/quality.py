"""Minutes of training against the loss on text that no run has seen, beside n-grams, compressors and nanoGPT.

    python benchmarks/quality.py tinyshakespeare.txt --names names.txt --ablation   # four to five hours
    python benchmarks/quality.py tinyshakespeare.txt --minutes 1.5 --seeds 0        # the least
    python benchmarks/quality.py --table                                            # of what there is

The files are char-rnn's data/tinyshakespeare/input.txt and makemore's names.txt. Every run is a process of its own, one
after the other. Each result is kept at once in benchmarks/results/quality.json, and what is there is not run again: a
script that was stopped goes on where it was. The table and the plot beside it are made of that file.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import quality_runs as runs
from alternating import environment

RESULTS = Path(__file__).parent / "results"
# What stands beside the runs, in this order; where it was not run here, with the figures that its authors publish.
BESIDE = {
    "tinyshakespeare/nanogpt": {
        "name": "nanoGPT, CPU recipe",
        "published": {"cold": 1.88, "parameters": 800_000, "updates": 2_000},
        "source": "its README, about 3 minutes on a laptop",
    },
    "tinyshakespeare/nanogpt-gpu": {
        "name": "nanoGPT, GPU recipe",
        "published": {"cold": 1.4697, "parameters": 10_700_000},
        "source": "its README, about 3 minutes on an A100",
    },
    "tinyshakespeare/kneser-ney": {"name": "Kneser-Ney"},
    **{f"tinyshakespeare/{name}": {"name": name} for name in runs.COMPRESSORS},
    "names/makemore": {
        "name": "makemore's Transformer",
        "published": {"loss": 1.92, "parameters": 200_000},
        "source": "its README",
    },
    "names/kneser-ney": {"name": "Kneser-Ney"},
}
INTRODUCTION = f"""\
Losses are in nats per character: the mean of the seeds and, in brackets, each of them. **stream**: one pass over the
validation text, the state carried from a zero start. **cold**: windows of {runs.WINDOW} characters, each from a zero
state that has read one character when it predicts the first. Both score every character but the first of the text.
Seconds are those of the whole command in a process of its own, start-up, compilation and export included. No run is
given the validation text: for its reports, by which it chooses its best weights, it holds out the last
{runs.REPORTED_ON:.1%} of the training text. Compressors: what the validation text adds to the compressed training text.
nanoGPT's losses are its own estimates, of random windows of 64 characters (CPU) or 256 (GPU).
"""
# In the plot: colour, dashes of what stands beside, on which side of a falling curve its numbers are.
PROTOCOLS = {
    "stream": ("tab:blue", "--", {"xytext": (-3, -9), "ha": "right"}),
    "cold": ("tab:red", ":", {"xytext": (3, 9), "ha": "left"}),
}
NUMBERS = {"textcoords": "offset points", "va": "center", "fontsize": 9, "bbox": {"fc": "white", "lw": 0, "pad": 0}}
OUTCOME = ("corpus", "minutes", "seed", "val_loss", "val_bits_per_character", "interrupted")
DRAWN = [f"tinyshakespeare/{name}" for name in ("nanogpt", "nanogpt-gpu", "kneser-ney", "bzip2")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", help="the file of tinyshakespeare")
    parser.add_argument("--names", metavar="FILE", help="makemore's names, 10 minutes a seed")
    parser.add_argument("--minutes", type=float, nargs="+", action="extend", help=f"default: {runs.MINUTES}")
    parser.add_argument("--seeds", type=int, nargs="+", default=runs.SEEDS, help=f"default: {runs.SEEDS}")
    parser.add_argument("--ablation", action="store_true", help="10 minutes and seed 0 without each ingredient")
    parser.add_argument("--nanogpt", metavar="CHECKOUT", help="run its recipe for a CPU there")
    parser.add_argument("--again", action="store_true", help="repeat what is among the results")
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not (arguments.table or arguments.corpus or arguments.names):
        parser.error("give the file of tinyshakespeare, --names FILE or --table.")
    path = RESULTS / "quality.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    failed = [] if arguments.table else work_off(runs.jobs(arguments, results), results, path, arguments.again)
    path.with_suffix(".md").write_text(page(results))
    plot(results, path.with_suffix(".png"))
    if failed:
        sys.exit(f"These failed: {', '.join(failed)}.")


def work_off(wanted, results, path, again=False):
    """Does what is not among the results, keeps each at once, and returns the keys of what failed."""
    failed = []
    for key in wanted if again else [key for key in wanted if key not in results]:
        print(f"\n{key}", flush=True)
        try:
            record = wanted[key]()
        except (subprocess.CalledProcessError, runs.MissingResultError) as error:
            # The others are worth their hours.
            print(error, file=sys.stderr)
            failed.append(key)
            continue
        if record is None:
            print("It is not in the recipe.")
            continue
        print(", ".join(f"{loss} {record[loss]:.4f}" for loss in ("stream", "cold", "loss") if loss in record))
        results[key] = record | {"environment": environment()}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(results, indent=1) + "\n")
        new.replace(path)
    return failed


def repeated(results, corpus):
    """`{minutes: [records]}` of the runs with the whole recipe, in the order of minutes and seeds."""
    grouped = {}
    for key, record in results.items():
        name, *run = key.split("/")
        if name == corpus and len(run) == 2:
            grouped.setdefault(float(run[0]), {})[int(run[1].removeprefix("seed"))] = record
    return {minutes: [seeds[seed] for seed in sorted(seeds)] for minutes, seeds in sorted(grouped.items())}


def beside(results, corpus):
    """(key, name, record) of what the runs are compared with; what was not run here has no environment."""
    for key, entry in BESIDE.items():
        record = results.get(key, entry.get("published"))
        if key.startswith(f"{corpus}/") and record:
            order = f", {record['order']}-gram" if "order" in record else ""
            yield key, entry["name"] + order, record


def page(results):
    """The tables as Markdown."""
    lines = ["`python benchmarks/quality.py`, on shared machines; when and where at the end.", "", INTRODUCTION]
    lines += ["### tinyshakespeare", "", *table(results, "tinyshakespeare", ("stream", "cold")), *ablation(results)]
    lines += ["", "### makemore's names: its 1,000 held out, each with the newline that ends it", ""]
    return "\n".join([*lines, *table(results, "names", ("loss",)), *what_was_run(results), ""])


def table(results, corpus, losses):
    yield f"| | seconds | layers x units | parameters | updates | {' | '.join(losses)} | bits |"
    yield "|---|---|---|---|---|" + "---|" * (len(losses) + 1)
    for minutes, records in repeated(results, corpus).items():
        yield row(f"`tfcharlm train`, {minutes:g} minutes", records, losses)
    for key, name, record in beside(results, corpus):
        source = "" if "environment" in record else f" (not run here: {BESIDE[key]['source']})"
        yield row(name + source, [record], losses)


def row(label, records, losses):
    first = records[0]
    settings = [record["settings"] for record in records if "settings" in record]
    size = " x ".join(span([one[name] for one in settings]) for name in ("layers", "units")) if settings else ""
    parameters = span([record["parameters"] for record in records]) if "parameters" in first else ""
    seconds, updates = (span([mean(records, name)]) if name in first else "" for name in ("seconds", "updates"))
    nats = [mean_and_each(records, loss) if loss in first else "" for loss in losses]
    bits = [f"{mean(records, loss) / math.log(2):.3f}" for loss in losses if loss in first]
    return f"| {' | '.join([label, seconds, size, parameters, updates, *nats, ' / '.join(bits)])} |"


def mean(records, name):
    return statistics.mean(record[name] for record in records)


def span(values):
    """The least and the greatest of some values, or the only one, as text."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return " or ".join(dict.fromkeys(map(str, values)))
    ends = [f"{value:,.0f}" if value == int(value) or value > 10 else f"{value:.3g}" for value in sorted(values)]
    return " to ".join(dict.fromkeys([ends[0], ends[-1]]))


def digits(record, loss):
    # What others have published has the digits that it has.
    return f"{record[loss]:{'.4f' if 'environment' in record else 'g'}}"


def mean_and_each(records, loss):
    values = [digits(record, loss) for record in records]
    return f"**{mean(records, loss):.4f}** ({', '.join(values)})" if len(values) > 1 else values[0]


def ablation(results):
    """The whole recipe, what is lost without each of its ingredients, and how much seeds differ."""
    key = runs.run_key("tinyshakespeare", runs.ABLATION_MINUTES, runs.ABLATION_SEED)
    parts = {other.split("/")[-1]: results[other] for other in results if other.startswith(f"{key}/")}
    whole = parts.get(f"without {runs.NOTHING}")
    if whole is None:
        return
    yield f"\n### Without each ingredient: {runs.ABLATION_MINUTES:g} minutes, seed {runs.ABLATION_SEED}\n"
    yield "Width and whatever else `train` chooses are as in the run above. Without nothing: that run again, beside the"
    yield f"others; it is what they are compared with. {environments(parts.values())}\n"
    if off := [name for name, settings in runs.WITHOUT.items() if runs.has_none_of(whole, settings)]:
        yield f"Not in the recipe, and so not to be left out: {', '.join(off)}.\n"
    yield "| | options | updates | stream | | cold | |\n|---|---|---|---|---|---|---|"
    for name, record in parts.items():
        losses = [f"{record[loss]:.4f} | {record[loss] - whole[loss]:+.4f}" for loss in PROTOCOLS]
        yield f"| {name} | {record.get('left_out', '')} | {record['updates']:,} | {' | '.join(losses)} |"
    seeds = repeated(results, "tinyshakespeare")[runs.ABLATION_MINUTES]
    if len(seeds) > 1:
        ranges = (max(losses) - min(losses) for losses in ([seed[loss] for seed in seeds] for loss in PROTOCOLS))
        yield "\nThe whole recipe's {} seeds lie within {:.4f} (stream) and {:.4f} (cold).".format(len(seeds), *ranges)


def what_was_run(results):
    """Commands and settings of the runs, processors, versions and dates."""
    yield "\n### What was run\n"
    for corpus in ("tinyshakespeare", "names"):
        for minutes, records in repeated(results, corpus).items():
            yield f"- {corpus}, {minutes:g} minutes: `tfcharlm {' '.join(records[0]['arguments'])}`;"
            settings = [runs.all_settings(record) for record in records]
            spans = {name: span([one[name] for one in settings]) for name in settings[0] if name not in OUTCOME}
            yield f"  {', '.join(f'{name} {values}' for name, values in spans.items() if values != 'None')}."
            yield f"  {environments(records)}"
    yield f"- the others: {environments(results[key] for key in BESIDE if key in results)}"


def environments(records):
    return "; or ".join(dict.fromkeys(record["environment"] for record in records)) + "."


def plot(results, path):
    """Minutes on a logarithmic axis against both losses; lines for what stands beside, named at the right."""
    from matplotlib.figure import Figure

    if not (grouped := repeated(results, "tinyshakespeare")):
        return
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log")
    axes.set(xlabel="minutes of the whole command", ylabel="validation loss, nats per character")
    minutes = [mean(records, "seconds") / 60 for records in grouped.values()]
    for protocol, (colour, _, side) in PROTOCOLS.items():
        losses = [mean(records, protocol) for records in grouped.values()]
        axes.plot(minutes, losses, color=colour, label=f"tfcharlm train, {protocol}")
        for records, *mean_point in zip(grouped.values(), minutes, losses, strict=True):
            axes.scatter([r["seconds"] / 60 for r in records], [r[protocol] for r in records], s=14, color=colour)
            axes.annotate(f"{mean_point[1]:.3f}", mean_point, **side, **NUMBERS, color=colour)
    lines = []
    for key, name, record in beside(results, "tinyshakespeare"):
        if key in DRAWN:
            name = name.removesuffix(" recipe") + ("" if "environment" in record else " (its README)")
            lines += [(record[p], f"{name} {digits(record, p)}", *PROTOCOLS[p][:2]) for p in PROTOCOLS if p in record]
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 30, 60, 120) if min(minutes) / 1.3 < t < max(minutes) * 1.3]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(0.1, 0.06)
    reference_lines(axes, lines)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92))
    figure.savefig(path, dpi=120)


def reference_lines(axes, lines):
    """Horizontal lines `(loss, name, colour, dashes)`, named at the right, where names make room for each other."""
    for loss, _, colour, dashes in lines:
        axes.axhline(loss, color=colour, linestyle=dashes, linewidth=1)
    lowest, highest = axes.get_ylim()
    place = -math.inf
    for loss, name, colour, _ in sorted(lines):
        place = max(loss, place + (highest - lowest) / 22)
        pointer = {"arrowstyle": "-", "color": colour, "linewidth": 0.7}
        where = {"xy": (1, loss), "xytext": (1.03, place), "xycoords": ("axes fraction", "data"), "va": "center"}
        axes.annotate(name, **where, fontsize=9, color=colour, arrowprops=pointer)


if __name__ == "__main__":
    main()

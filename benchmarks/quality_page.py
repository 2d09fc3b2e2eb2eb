"""The tables of benchmarks/quality.py, as Markdown."""

import dataclasses
import math
import statistics

import quality_runs as runs
from protocols import WINDOW

from tfcharlm.training import TrainingConfig

# What the runs are compared with, in this order; if it was not run here, with the numbers that its authors published.
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
    **{f"tinyshakespeare/{name}": {"name": name} for name in (*runs.COMPRESSORS, *runs.ADAPTIVE)},
    "names/makemore": {
        "name": "makemore's Transformer",
        "published": {"loss": 1.92, "parameters": 200_000},
        "source": "its README",
    },
    "names/kneser-ney": {"name": "Kneser-Ney"},
}
INTRODUCTION = f"""\
Losses are in nats per character: the mean of the seeds and, in brackets, each of them. **Carried state**: the
validation text is read once, from a zero state that is carried along. **Windows**: the text is read in windows of
{WINDOW} characters, each from a zero state. Both score every character but the first of the text. **Adaptive**: the
model learns from the text while it reads it once (dynamic evaluation), as PPMd and zpaq do. Seconds are those of the
whole command in a process of its own, including start-up, compilation and export. No run reads the validation text;
it chooses its best weights by evaluations on the last {runs.REPORTED_ON:.1%} of the training text, which it holds out.
For a compressor, the loss is what the validation text adds to the compressed training text. nanoGPT's losses are its
own estimates, from random windows of 64 characters (CPU) or 256 (GPU).
"""
# The columns of the losses in the results.
TITLES = {"stream": "carried state", "cold": "windows", "adaptive": "adaptive", "loss": "loss"}
# The values of options that did not exist yet when a run was made; they change nothing.
DEFAULTS = dataclasses.asdict(TrainingConfig(steps=1)) | {"steps": None}
OUTCOME = ("corpus", "minutes", "seed", "val_loss", "val_bits_per_character", "interrupted")
PROTOCOLS = ("stream", "cold")


def repeated(results, corpus):
    """`{minutes: [records]}` of the runs with all ingredients, in the order of minutes and seeds."""
    grouped = {}
    for key, record in results.items():
        name, *run = key.split("/")
        if name == corpus and len(run) == 2:
            grouped.setdefault(float(run[0]), {})[int(run[1].removeprefix("seed"))] = record
    return {minutes: [seeds[seed] for seed in sorted(seeds)] for minutes, seeds in sorted(grouped.items())}


def beside(results, corpus):
    """(key, name, record) of what the runs are compared with. A record has no environment if it was not run here."""
    for key, entry in BESIDE.items():
        record = results.get(key, entry.get("published"))
        if key.startswith(f"{corpus}/") and record:
            order = f", {record['order']}-gram" if "order" in record else ""
            yield key, entry["name"] + order, record


def page(results):
    """The tables as Markdown."""
    lines = [
        "Measured by `python benchmarks/quality.py` on shared machines; the end of the page lists machines and dates.",
        "",
        INTRODUCTION,
    ]
    losses = [*PROTOCOLS, "adaptive"]
    lines += ["### tinyshakespeare", "", *table(results, "tinyshakespeare", losses), *ablation(results)]
    if repeated(results, "names"):
        lines += ["", "### makemore's names: 1,000 held-out names, each with the newline that ends it", ""]
        lines += table(results, "names", ("loss",))
    return "\n".join([*lines, *what_was_run(results), ""])


def table(results, corpus, losses):
    titles = " | ".join(TITLES[loss] for loss in losses)
    yield f"| | seconds | layers x units | parameters | updates | {titles} | bits |"
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
    """The smallest and the greatest value, or the only one, as text."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return " or ".join(dict.fromkeys(map(str, values)))
    ends = [f"{value:,.0f}" if value == int(value) or value > 10 else f"{value:.3g}" for value in sorted(values)]
    return " to ".join(dict.fromkeys([ends[0], ends[-1]]))


def digits(record, loss):
    # A published number keeps its digits.
    return f"{record[loss]:{'.4f' if 'environment' in record else 'g'}}"


def mean_and_each(records, loss):
    values = [digits(record, loss) for record in records]
    return f"**{mean(records, loss):.4f}** ({', '.join(values)})" if len(values) > 1 else values[0]


def ablation_runs(results):
    """`{"without ...": record}` of the runs without an ingredient; empty if the run with all of them is missing."""
    key = runs.run_key("tinyshakespeare", runs.ABLATION_MINUTES, runs.ABLATION_SEED)
    parts = {other.split("/")[-1]: results[other] for other in results if other.startswith(f"{key}/")}
    return parts if f"without {runs.NOTHING}" in parts else {}


def ablation(results):
    """The run with all ingredients, the loss that is added without each of them, and how much seeds differ."""
    if not (parts := ablation_runs(results)):
        return
    whole = parts[f"without {runs.NOTHING}"]
    yield f"\n### Without each ingredient: {runs.ABLATION_MINUTES:g} minutes, seed {runs.ABLATION_SEED}\n"
    yield "The width and whatever else `train` chooses are those of the run above. The run with all ingredients was"
    yield f"repeated for this comparison. {environments(parts.values())}\n"
    titles = " | | ".join(TITLES[loss] for loss in PROTOCOLS)
    yield f"| | options | updates | {titles} | |\n|---|---|---|---|---|---|---|"
    for name, record in parts.items():
        losses = [f"{record[loss]:.4f} | {record[loss] - whole[loss]:+.4f}" for loss in PROTOCOLS]
        name = "all ingredients" if record is whole else name
        yield f"| {name} | {record.get('left_out', '')} | {record['updates']:,} | {' | '.join(losses)} |"
    seeds = repeated(results, "tinyshakespeare")[runs.ABLATION_MINUTES]
    if len(seeds) > 1:
        ranges = (max(losses) - min(losses) for losses in ([seed[loss] for seed in seeds] for loss in PROTOCOLS))
        yield "\nWith all ingredients, {} seeds differ by at most {:.4f} (carried state) and {:.4f} (windows).".format(
            len(seeds), *ranges
        )


def what_was_run(results):
    """The commands and settings of the runs, and the processors, versions and dates."""
    yield "\n### What was run\n"
    for corpus in ("tinyshakespeare", "names"):
        for minutes, records in repeated(results, corpus).items():
            yield f"- {corpus}, {minutes:g} minutes: `tfcharlm {' '.join(records[0]['arguments'])}`;"
            settings = [DEFAULTS | record["settings"] for record in records]
            spans = {name: span([one[name] for one in settings]) for name in settings[0] if name not in OUTCOME}
            yield f"  {', '.join(f'{name} {values}' for name, values in spans.items() if values != 'None')}."
            yield f"  {environments(records)}"
    if others := [results[key] for key in BESIDE if key in results]:
        yield f"- the others: {environments(others)}"


def environments(records):
    return "; or ".join(dict.fromkeys(record["environment"] for record in records)) + "."

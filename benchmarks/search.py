"""What a search gains: the four tuners, beside what `train` chooses and beside one run that takes all the time.

    python benchmarks/search.py --minutes 0.5 --trials 12 neko.txt names.txt python     # about 70 minutes a text

For each text there are four searches: of so many trials, or with Hyperband of all its rounds, which take about as long
as eight trials. Then the best options of each and those that `train` chooses are trained again with three seeds, in the
time of a trial and twelve seconds for the start, which does not count in a trial. `train` also gets the time of a whole
search, once for each seed. A tenth of the text is scored, which no search and no run is given. Each run is a process of
the command. Runs that are in benchmarks/results/search.json already are not repeated. The page goes to
benchmarks/results/search.md, with a picture of the best loss so far against the time.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alternating import environment
from texts import bits, start_of, text_of

from tfcharlm.training import START_UP

RESULTS = Path(__file__).parent / "results" / "search.json"
TUNERS = ("random", "bayesian", "hyperband", "grid")
SEEDS = (1, 2, 3)
TFCHARLM = [sys.executable, "-c", "from tfcharlm_command import main; main()"]


def searched(path, tuner, minutes, trials, folder):
    """The seconds and the loss of each trial as it ends, and the record of the best one."""
    options = ["--minutes", str(minutes), "--name", tuner, "--output", str(folder)]
    # Most of Hyperband's trials are short.
    options += [] if tuner == "hyperband" else ["--trials", str(trials)]
    command = [*TFCHARLM, "tune", str(path), "--tuner", tuner, *options, "--json"]
    began, trials, best = time.monotonic(), [], None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            report = json.loads(line)
            if report["report"] == "trial":
                trials.append([time.monotonic() - began, report["val_loss"]])
            elif report["report"] == "result":
                best = report["trial"]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}.")
    record = folder / tuner / "1" / "assets.extra" / "training.json"
    return {
        "seconds": time.monotonic() - began,
        "trials": trials,
        "best": best,
        "options": json.loads(record.read_text("utf-8")),
    }


def trained(arguments, seed, held_out, path):
    """The bits per character of the text that a new run is not given."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*TFCHARLM, "train", *arguments, "--seed", str(seed), "--name", "model", "--output", folder]
        subprocess.run(command, check=True, capture_output=True)
        return bits(Path(folder) / "model", held_out, path)


def measure(name, size, minutes, trials, results, save):
    """Adds what is not yet in the results of a text."""
    text = start_of(text_of(name), size)
    split = text.rindex("\n", 0, len(text) * 9 // 10) + 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path, config = folder / "text.txt", folder / "config.json"
        path.write_text(text[:split], encoding="utf-8")
        results["characters"] = len(text)
        searches, runs = results.setdefault("searches", {}), results.setdefault("runs", {})
        for tuner in TUNERS:
            if tuner not in searches:
                searches[tuner] = searched(path, tuner, minutes, trials, folder)
                save()
        whole = statistics.median(search["seconds"] for search in searches.values()) / 60
        results["longer"] = whole
        one = minutes + START_UP / 60
        for seed in SEEDS:
            for candidate in ("train", *TUNERS, "longer"):
                if f"{candidate} {seed}" in runs:
                    continue
                if candidate in TUNERS:
                    config.write_text(json.dumps(searches[candidate]["options"] | {"corpus": str(path)}))
                    arguments = ["--config", str(config), "--minutes", str(one)]
                else:
                    arguments = [str(path), "--minutes", str(whole if candidate == "longer" else one)]
                runs[f"{candidate} {seed}"] = trained(arguments, seed, text[split:], folder / "held_out.txt")
                save()


def page(results):
    """The results of all texts as Markdown."""
    # Where the files are is of no interest to others.
    typed = [Path(word).name if Path(word).is_file() else word for word in sys.argv[1:]]
    yield f"{environment()}; `python benchmarks/search.py {shlex.join(typed)}`\n"
    yield "Bits per character of a tenth of each text that no search was given; means of seeds 1, 2 and 3.\n"
    for key, found in results.items():
        name, _, minutes, trials = key.split("|")
        if "longer" not in found:
            continue
        yield f"### {name}, {found['characters']:,} characters: {trials} trials of {minutes} minutes\n"
        yield f"`longer` is one run of {found['longer']:.1f} minutes.\n"
        yield "| | bits per character | each seed | minutes of the search | best trial | units | learning rate |"
        yield "|---|---|---|---|---|---|---|"
        for candidate in ("train", *TUNERS, "longer"):
            losses = [found["runs"][f"{candidate} {seed}"] for seed in SEEDS if f"{candidate} {seed}" in found["runs"]]
            if not losses:
                continue
            search, facts = found["searches"].get(candidate), " | | | "
            if search:
                options = search["options"]
                facts = (
                    f" {search['seconds'] / 60:.1f} | {search['best']} of {len(search['trials'])} "
                    f"| {options['units']} | {options['learning_rate']:.4f}"
                )
            each = ", ".join(f"{loss:.3f}" for loss in losses)
            yield f"| {candidate} | {statistics.mean(losses):.3f} | {each} |{facts} |"
        yield ""
    yield "![The best loss so far](search.png)"


def plot(results, path):
    """The best `val_loss` so far against the minutes of each search."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(4.5 * len(results), 3.6), squeeze=False)
    for axes, (key, found) in zip(panels[0], results.items(), strict=True):
        for tuner, search in found["searches"].items():
            best, minutes, losses = float("inf"), [], []
            for seconds, loss in search["trials"]:
                best = min(best, float("inf") if loss is None else loss)
                minutes.append(seconds / 60)
                losses.append(best)
            axes.step(minutes, losses, where="post", marker=".", label=tuner)
        axes.set(title=key.split("|")[0], xlabel="minutes", ylabel="best val_loss so far, nats per token")
        axes.grid(alpha=0.3)
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", nargs="+", help="names of corpora, python, or files")
    parser.add_argument("--size", type=int, default=0, help="bytes of each text; 0 for all")
    parser.add_argument("--minutes", type=float, default=0.5, help="time of a trial")
    parser.add_argument("--trials", type=int, default=12)
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}

    def save():
        RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
        RESULTS.with_suffix(".md").write_text("\n".join(page(results)), encoding="utf-8")
        plot(results, RESULTS.with_suffix(".png"))

    for name in options.texts:
        key = f"{Path(name).stem}|{options.size}|{options.minutes:g}|{options.trials}"
        measure(name, options.size, options.minutes, options.trials, results.setdefault(key, {}), save)


if __name__ == "__main__":
    main()

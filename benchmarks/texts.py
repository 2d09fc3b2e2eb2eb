"""`tfcharlm train --minutes` on texts of several kinds and sizes, beside Kneser-Ney n-grams and compressors.

    python benchmarks/texts.py --minutes 5 quijote.txt neko.txt --lines names.txt     # 20 kB, 200 kB and all of each
    python benchmarks/texts.py --sizes 20000 --from saved_models/shakespeare quijote.txt
    python benchmarks/texts.py tinyshakespeare shakespeare python                          # without files
    python benchmarks/texts.py --mixtures --models kept tinyshakespeare.txt                # also for rows that exist

The extra bench has the compressors. `python` is the source of Python's standard library. Every run is one process of
the command, with the text alone. Runs that are in benchmarks/results/texts.json already are not repeated, so the
program may be stopped and started again. The table goes to benchmarks/results/texts.md.

`adaptive` is `tfcharlm score --adapt`. Like PPMd and zpaq, which read the text to train on first, it learns from the
held-out text while it reads it. The columns before it do not; tfcharlm reads the held-out text as it does in training,
in several rows. "stream" in the JSON file is the same model with one row. Of `--lines`, each item is read on its own.
With `--mixtures`, each model is also mixed with n-grams, see `mixtures.py`.
"""

import argparse
import json
import math
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from alternating import environment
from compressors import ppmd_bits, zpaq_bits

from tfcharlm.commands import small_text
from tfcharlm.text import load_corpus, split_corpus

RESULTS = Path(__file__).parent / "results" / "texts.json"
SIZES = (20_000, 200_000, 0)


def text_of(name):
    """A corpus by its name, the sources of Python, or a file."""
    if name != "python":
        return load_corpus(name)
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return "".join(path.read_text("utf-8") for path in paths)


def start_of(text, size):
    """The first bytes of a text, up to the end of a line; all of it for a size of 0."""
    if not size:
        return text
    start = text.encode()[:size]
    return start[: start.rfind(b"\n") + 1].decode()


def command(path, minutes, lines, origin, seed, directory):
    """Trains on a file, and returns training.json."""
    options = ["--lines"] * lines + (["--from", origin] if origin else [])
    run = [sys.executable, "-c", "from tfcharlm_command import main; main()", "train", str(path), *options]
    run += ["--minutes", str(minutes), "--seed", str(seed), "--name", "text", "--output", str(directory)]
    subprocess.run(run, check=True, capture_output=True)
    return json.loads((directory / "text" / "1" / "assets.extra" / "training.json").read_text("utf-8"))


def bits(model, text, path, *options):
    """The bits per character of a text that is read once, by `tfcharlm score`."""
    path.write_text(text, encoding="utf-8")
    run = [sys.executable, "-c", "from tfcharlm_command import main; main()", "score", str(model), str(path), "--json"]
    return json.loads(subprocess.run([*run, *options], check=True, capture_output=True).stdout)["bits_per_character"]


def parts_of(path, lines):
    """The text to train on, and the held-out text, as the command splits them."""
    split = split_corpus(path, lines=lines)
    for part in (split.train, split.validation):
        if lines:
            begins, lengths = part.begins.tolist(), part.lengths.tolist()
            items = [part.ids[begin + 1 : begin + 1 + length] for begin, length in zip(begins, lengths, strict=True)]
            yield "".join(map(split.vocabulary.decode, items))
        else:
            yield split.vocabulary.decode(part.ids)


def counted_by_script(path, lines, rows):
    """What the command does not count, because the text is too large: the best Kneser-Ney model of it."""
    small_text.MAX_TOKENS = math.inf
    return small_text.kneser_ney_baseline(split_corpus(path, lines=lines), rows)._asdict()


def mixtures(folder, parts):
    """What `mixtures.py` adds to a row: the model in this directory, mixed with models that count."""
    (folder / "training.txt").write_text(parts[0], encoding="utf-8")
    (folder / "held_out.txt").write_text(parts[1], encoding="utf-8")
    script = Path(__file__).with_name("mixtures.py")
    run = [sys.executable, script, folder / "text", folder / "training.txt", folder / "held_out.txt"]
    found = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    return {name: found[name] for name in ("mixture", "adaptive_mixture")}


def measured(text, minutes, lines, origin, seed, models=None, with_mixtures=False):
    """One row of the table. The text and its model stay in the directory `models`, if there is one."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(models or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "text.txt"
        path.write_text(text, encoding="utf-8")
        record = command(path, minutes, lines, origin, seed, folder)
        parts = list(parts_of(path, lines))
        counted = record["kneser_ney"] or counted_by_script(path, lines, record["batch_size"])
        return {
            "characters": len(text),
            "different": len(set(text)),
            "tfcharlm": record["val_bits_per_character"],
            "kneser_ney": counted["bits_per_character"],
            "order": counted["order"],
            "stream": bits(folder / "text", parts[1], folder / "held_out.txt"),
            "adaptive": bits(folder / "text", parts[1], folder / "held_out.txt", "--adapt"),
            "ppmd": ppmd_bits(*parts),
            "zpaq": zpaq_bits(*parts),
            "units": record["units"],
            "ended_early": record["ended_early"],
            **(mixtures(folder, parts) if with_mixtures and not lines else {}),
        }


def table(results):
    """The rows as a page."""
    yield f"{environment()}\n"
    yield "Bits per character of the held-out text.\n"
    yield (
        "| text | characters | different | minutes | begins from | units | tfcharlm | Kneser-Ney "
        "| adaptive | PPMd | zpaq | mixture | adaptive mixture |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for key, row in results.items():
        name, _, minutes, origin, _ = key.split("|")
        early = ", ended early" if row["ended_early"] else ""
        yield (
            f"| {name} | {row['characters']:,} | {row['different']:,} | {minutes} | {origin} | {row['units']}{early} "
            f"| {row['tfcharlm']:.3f} | {row['kneser_ney']:.3f} | {row['adaptive']:.3f} | {row['ppmd']:.3f} "
            f"| {row['zpaq']:.3f} | {_number(row.get('mixture'))} | {_number(row.get('adaptive_mixture'))} |"
        )


def _number(value):
    return "" if value is None else f"{value:.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", nargs="*", help="names of corpora, python, or files")
    parser.add_argument("--lines", nargs="*", default=[], help="the same, with an item in every line")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="bytes of each text; 0 for all")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--from", dest="origin", default="", help="a model to begin from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="a directory that keeps the texts and their models")
    parser.add_argument("--mixtures", action="store_true", help="also mix each model with n-grams (mixtures.py)")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    for name in [*options.texts, *options.lines]:
        text = text_of(name)
        for size in options.sizes:
            origin = Path(options.origin).name
            key = f"{Path(name).stem}|{size}|{options.minutes:g}|{origin}|{options.seed}"
            lines = name in options.lines
            models = options.models and options.models / key.replace("|", "_")
            wants_mixtures = options.mixtures and not lines and "mixture" not in results.get(key, {})
            if size > len(text.encode()) or (key in results and not (wants_mixtures and models and models.exists())):
                continue
            if key in results:
                results[key] |= mixtures(models, list(parts_of(models / "text.txt", lines)))
            else:
                run = options.minutes, lines, options.origin, options.seed
                results[key] = measured(start_of(text, size), *run, models, options.mixtures)
            print(key, results[key], flush=True)
            RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
            RESULTS.with_suffix(".md").write_text("\n".join(table(results)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

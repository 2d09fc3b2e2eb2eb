"""A run that begins from the plays, beside a new model in the same time, on other texts.

    python benchmarks/fine_tuning.py don_quijote_es.txt --minutes 1

English by other authors is the prose of four manuals that Debian's packages xproto, libslang2, libpng16 and kbproto
have in /usr/share/doc: paragraphs in which nearly all characters are letters, in a shuffled order.
"""

import argparse
import gzip
import json
import random
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

MANUALS = ["xproto/x11protocol", "libslang2/slang", "libpng16-16/libpng-manual", "kbproto/xkbproto"]
START = Path(__file__).parents[1] / "saved_models" / "shakespeare"
BLOCK, OFFSET = 4000, 60_000


def prose(folder: Path = Path("/usr/share/doc")) -> str:
    """The paragraphs of the manuals that are prose, in blocks of 4,000 characters, shuffled."""
    paragraphs: dict[str, None] = {}
    for name in MANUALS:
        text = gzip.decompress((folder / f"{name}.txt.gz").read_bytes()).decode("utf-8", "replace").replace("\r", "")
        for paragraph in (" ".join(part.split()) for part in re.split(r"\n\s*\n", text)):
            letters = sum(character.isalpha() or character == " " for character in paragraph)
            is_prose = letters > 0.93 * len(paragraph) and ". " in paragraph and "_" not in paragraph
            if len(paragraph) > 150 and is_prose:
                paragraphs[textwrap.fill(paragraph, 78)] = None
    blocks: list[list[str]] = [[]]
    for paragraph in paragraphs:
        blocks[-1].append(paragraph)
        if sum(map(len, blocks[-1])) > BLOCK:
            blocks.append([])
    parts = ["\n\n".join(block) for block in blocks[:-1]]
    random.Random(0).shuffle(parts)
    return "\n\n".join(parts) + "\n"


def train(corpus: Path, minutes: float, *options: str) -> dict:
    """What `training.json` says of a run in a process of its own, and the tokens that it read."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "tfcharlm_command", "train", str(corpus), "--minutes", str(minutes)]
        subprocess.run([*command, "--name", "x", "--output", directory, *options], check=True, stdout=sys.stderr)
        extra = Path(directory, "x", "1", "assets.extra")
        tokens = (extra / "learning_curve.csv").read_text().splitlines()[-1].split(",")[2]
        return json.loads((extra / "training.json").read_text()) | {"tokens": int(tokens)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quijote", type=Path, help="Don Quijote, a text in UTF-8")
    parser.add_argument("--minutes", type=float, default=1)
    arguments = parser.parse_args()
    manuals, quijote = prose(), arguments.quijote.read_text("utf-8")[OFFSET:]
    texts = {
        "manuals, 100,000 characters": manuals[:100_000],
        "manuals, 300,000 characters": manuals[:300_000],
        "Don Quijote, 100,000 characters": quijote[:100_000],
    }
    print("| Text | Begins from | Units | Tokens read | Bits per character |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for name, text in texts.items():
            path = Path(directory, "text.txt")
            path.write_text(text, encoding="utf-8")
            for start, options in (("the plays", ("--from", str(START))), ("random weights", ())):
                run = train(path, arguments.minutes, *options)
                bits = run["val_bits_per_character"]
                print(f"| {name} | {start} | {run['units']} | {run['tokens']:,} | {bits:.4f} |", flush=True)


if __name__ == "__main__":
    main()

"""What benchmarks/quality.py measures: training runs, their losses by both protocols, and what they are compared with.

Each function returns a record, which is a dict that is saved as JSON. Losses are in nats per character.
"""

import bz2
import csv
import hashlib
import json
import lzma
import math
import re
import subprocess
import sys
import tempfile
import time
import zlib
from functools import partial
from itertools import product
from pathlib import Path

from compressors import ppmd_bits, zpaq_bits
from kneser_ney import count_names, count_text
from protocols import WINDOW, score_names, score_text

from tfcharlm.training import SUGGESTED

SHA256 = {
    "tinyshakespeare": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "names": "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
}
# The fraction of the training text on which a run is evaluated to choose its best weights; `train` needs some.
REPORTED_ON = 0.005
COMPRESSORS = {
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=9 | lzma.PRESET_EXTREME),
    "zlib": partial(zlib.compress, level=9),
}
# Compressors that learn while they read, at their best settings for text.
ADAPTIVE = {"PPMd": ppmd_bits, "zpaq": zpaq_bits}
# nanoGPT's README, "I only have a macbook".
NANOGPT = """
    train.py config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 --log_interval=1
    --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000
    --dropout=0.0
"""
MINUTES, SEEDS, NAMES_MINUTES = (1.5, 10.0, 30.0), (0, 1, 2), 10.0
# The ablation: one run for each ingredient, with the same settings but without the ingredient.
ABLATION_MINUTES, ABLATION_SEED = 10.0, 0
# "Without nothing" is the run with all ingredients again, on the machine and day of the runs that are compared with it.
NOTHING = "nothing"
WITHOUT = {
    NOTHING: {},
    "weight drop": {"weight_drop": 0},
    "dropout": {"dropout": 0},
    "weight decay": {"weight_decay": 0},
    "resets of the state": {"state_reset_probability": 0},
    "random offsets": {"random_start": False},
    "output bias from frequencies": {"unigram_output_bias": False},
    "annealing": {"schedule": "constant"},
    "clipping": {"clip_norm": 1_000_000},
}


class MissingResultError(Exception):
    """The results lack a run that another one is compared with."""


def read(path, corpus):
    """The text of a file, which must be exactly the known corpus."""
    content = Path(path).read_bytes()
    received = hashlib.sha256(content).hexdigest()
    if received != SHA256[corpus]:
        raise SystemExit(f"{path} is not {corpus}: its SHA-256 is {received}, expected {SHA256[corpus]}.")
    return content.decode()


def split_text(text):
    """(the first 90% of the characters, the rest), as nanoGPT splits it."""
    border = int(0.9 * len(text))
    return text[:border], text[border:]


def split_names(text):
    """(the names to train on, the 1,000 held-out names), both in the order of makemore's permutation."""
    import torch

    names = text.split()
    torch.manual_seed(3407)
    names = [names[i] for i in torch.randperm(len(names)).tolist()]
    return names[:-1000], names[-1000:]


def train(corpus, text, score, minutes, seed, options=()):
    """Runs `tfcharlm train` in a new process and an empty directory with the text to train on.

    The losses are the dict that `score(model)` returns. Seconds are those of the whole command.
    """
    executable = Path(sys.executable).with_name("tfcharlm")
    arguments = ["train", f"{corpus}.txt", "--minutes", f"{minutes:g}", "--seed", str(seed), "--name", corpus]
    arguments += ["--output", "models", "--validation-fraction", str(REPORTED_ON), *options]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{corpus}.txt").write_bytes(text.encode())
        began = time.perf_counter()
        subprocess.run([executable, *arguments], cwd=folder, check=True)
        seconds = time.perf_counter() - began
        directory = Path(folder, "models", corpus, "1")
        with (directory / "assets.extra" / "learning_curve.csv").open() as curve:
            *_, last_evaluation = csv.DictReader(curve)
        import tfcharlm

        model = tfcharlm.load_model(directory)
        return {
            **score(model),
            "seconds": seconds,
            "parameters": model.count_params(),
            "updates": int(last_evaluation["step"]),
            "arguments": arguments,
            "settings": json.loads((directory / "assets.extra" / "training.json").read_text()),
        }


def compress(name, training, validation):
    """The loss of a compressor: how much the validation text adds to the size of the compressed training text."""
    compressed, began = COMPRESSORS[name], time.perf_counter()
    added = len(compressed((training + validation).encode())) - len(compressed(training.encode()))
    return {"stream": added * 8 * math.log(2) / len(validation), "seconds": time.perf_counter() - began}


def learn_while_reading(name, training, validation):
    """The loss of a compressor that is compared with a model that learns while it reads."""
    began = time.perf_counter()
    loss = ADAPTIVE[name](training, validation) * math.log(2)
    return {"adaptive": loss, "seconds": time.perf_counter() - began}


def nanogpt(checkout, text):
    """Runs nanoGPT's configuration for a CPU. The loss is nanoGPT's own estimate, from windows of 64 characters."""
    data = Path(checkout, "data", "shakespeare_char")
    if not (data / "train.bin").exists():
        # nanoGPT's script downloads the text only if the file is missing.
        (data / "input.txt").write_bytes(text.encode())
        subprocess.run([sys.executable, data.relative_to(checkout) / "prepare.py"], cwd=checkout, check=True)
    arguments, began = NANOGPT.split(), time.perf_counter()
    run = subprocess.run([sys.executable, *arguments], cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    step, loss = re.findall(r"^step (\d+): train loss \S+, val loss (\S+)", run.stdout, re.M)[-1]
    parameters = re.search(r"number of parameters: (\S+)M", run.stdout)
    return {
        "cold": float(loss),
        "seconds": seconds,
        "updates": int(step),
        "parameters": round(float(parameters[1]) * 1e6),
        "arguments": arguments,
    }


def run_key(corpus, minutes, seed):
    """The key of a run in the results."""
    return f"{corpus}/{minutes:g}/seed{seed}"


def as_options(settings):
    """Settings as arguments of the command line."""
    for name, value in settings.items():
        flag = name.replace("_", "-")
        yield from [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]


def leave_out(settings, results, whole, run):
    """The record of a run that has the settings of the run with all ingredients, except for some.

    Raises:
        MissingResultError: the results lack the run with all ingredients, whose settings are needed.
    """
    if whole not in results:
        raise MissingResultError(f"there is no {whole} among the results, whose settings are needed.")
    # `train` chooses these options by the measured speed. Without an ingredient, they must be the same as with all.
    pinned = {name: results[whole]["settings"][name] for name in SUGGESTED}
    record = run(ABLATION_MINUTES, ABLATION_SEED, list(as_options(pinned | settings)))
    return record | {"left_out": " ".join(as_options(settings))}


def jobs(arguments, results):
    """`{key: function that returns the record}` for all requested runs. `results` grows while they run."""
    wanted = {}
    if arguments.corpus:
        corpus, text = "tinyshakespeare", read(arguments.corpus, "tinyshakespeare")
        training, validation = split_text(text)
        for name in COMPRESSORS:
            wanted[f"{corpus}/{name}"] = partial(compress, name, training, validation)
        for name in ADAPTIVE:
            wanted[f"{corpus}/{name}"] = partial(learn_while_reading, name, training, validation)
        wanted[f"{corpus}/kneser-ney"] = partial(count_text, training, validation, WINDOW)
        if arguments.nanogpt:
            wanted[f"{corpus}/nanogpt"] = partial(nanogpt, arguments.nanogpt, text)
        run = partial(train, corpus, training, partial(score_text, text=validation))
        pairs = list(product(arguments.minutes or MINUTES, arguments.seeds))
        pairs += [(ABLATION_MINUTES, ABLATION_SEED)] if arguments.ablation else []
        wanted |= {run_key(corpus, *pair): partial(run, *pair) for pair in pairs}
        whole = run_key(corpus, ABLATION_MINUTES, ABLATION_SEED)
        for ingredient, settings in WITHOUT.items() if arguments.ablation else ():
            wanted[f"{whole}/without {ingredient}"] = partial(leave_out, settings, results, whole, run)
    if arguments.names:
        corpus = "names"
        training, held_out = split_names(read(arguments.names, "names"))
        wanted[f"{corpus}/kneser-ney"] = partial(count_names, training, held_out)
        run = partial(train, corpus, "\n".join(training) + "\n", partial(score_names, names=held_out))
        wanted |= {run_key(corpus, NAMES_MINUTES, seed): partial(run, NAMES_MINUTES, seed) for seed in arguments.seeds}
    return wanted

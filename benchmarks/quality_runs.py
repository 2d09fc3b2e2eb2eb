"""What benchmarks/quality.py measures: a training, its losses by both protocols, and what stands beside it.

Everything returns a record, a dict that is kept as JSON. Losses are in nats per character.
"""

import bz2
import csv
import dataclasses
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

import numpy as np
from kneser_ney import count_names, count_text

from tfcharlm.recipe import TrainingConfig

SHA256 = {
    "tinyshakespeare": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "names": "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
}
WINDOW = 256
# Of the training text, for the reports by which a run chooses its best weights: `train` asks for some.
REPORTED_ON = 0.005
COMPRESSORS = {
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=9 | lzma.PRESET_EXTREME),
    "zlib": partial(zlib.compress, level=9),
}
# nanoGPT's README, "I only have a macbook".
NANOGPT = """
    train.py config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 --log_interval=1
    --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000
    --dropout=0.0
"""
MINUTES, SEEDS, NAMES_MINUTES = (1.5, 10.0, 30.0), (0, 1, 2), 10.0
# One run each, with the settings of the whole recipe but for one ingredient that is left out.
ABLATION_MINUTES, ABLATION_SEED = 10.0, 0
# Without nothing it is that run again, on the machine and the day of the others, which are compared with it.
NOTHING = "nothing"
WITHOUT = {
    NOTHING: {},
    "weight drop": {"weight_drop": 0},
    "input dropout": {"input_dropout": 0},
    "dropout": {"dropout": 0},
    "weight decay": {"weight_decay": 0},
    "averaged weights": {"ema_momentum": 0},
    "resets of the state": {"reset_rate": 0},
    "random offsets": {"random_offset": False},
    "output bias from frequencies": {"frequency_bias": False},
    "capped input gate": {"cap_input_gate": False},
    "skip connections": {"skip_connections": False},
    "annealing": {"schedule": "constant"},
    "clipping": {"clip_norm": 1_000_000},
}
# What `train` chooses by the speed that it finds, or may: without an ingredient it must be as with all of them.
PINNED = (
    "units",
    "layers",
    "batch_size",
    "sequence_length",
    "learning_rate",
    "dropout",
    "input_dropout",
    "weight_drop",
)


class MissingResultError(Exception):
    """What a run is compared with is not there."""


def read(path, corpus):
    """The text of a file that must be the corpus that everybody means."""
    content = Path(path).read_bytes()
    received = hashlib.sha256(content).hexdigest()
    if received != SHA256[corpus]:
        raise SystemExit(f"{path} is not {corpus}: its SHA-256 is {received}, expected {SHA256[corpus]}.")
    return content.decode()


def split_text(text):
    """(the first 90% of the characters, the rest), as nanoGPT has it."""
    border = int(0.9 * len(text))
    return text[:border], text[border:]


def split_names(text):
    """(the names to train on, the 1,000 held out), both in the order of makemore's permutation."""
    import torch

    names = text.split()
    torch.manual_seed(3407)
    names = [names[i] for i in torch.randperm(len(names)).tolist()]
    return names[:-1000], names[-1000:]


def train(corpus, text, score, minutes, seed, options=()):
    """One run of `tfcharlm train` in a fresh process that has nothing but the text to train on.

    The losses are what `score(model)` returns, a dict. Seconds are those of the whole command.
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
            *_, last_report = csv.DictReader(curve)
        import tfcharlm

        model = tfcharlm.load_model(directory)
        return {
            **score(model),
            "seconds": seconds,
            "parameters": model.count_params(),
            "updates": int(last_report["step"]),
            "arguments": arguments,
            "settings": json.loads((directory / "assets.extra" / "training.json").read_text()),
        }


def score_text(model, text):
    """The losses of both protocols, each of all characters of the text but the first, which is only read."""
    ids = model.vocabulary.encode(text)
    return {"stream": evaluate_stream(model, ids), "cold": evaluate_cold(model, ids)}


def score_names(model, names):
    """The loss of every character and of the newline that ends a name, each from a fresh state after a newline."""
    scores = model.score([f"{name}\n" for name in names])
    return {"loss": float(-scores["log_probability"].sum() / scores["tokens"].sum())}


def evaluate_stream(model, ids, chunk=2_000):
    """One pass over a text from a zero state, which is carried on; the chunk is only what is read at once."""
    losses, states = _losses_of(model), model.initial_state(1)
    total = 0.0
    for begin in range(0, len(ids) - 1, chunk):
        window = ids[None, begin : begin + chunk + 1]
        nats, states = losses(window[:, :-1], window[:, 1:], states)
        total += float(nats)
    return total / (len(ids) - 1)


def evaluate_cold(model, ids, window=WINDOW, rows=64):
    """Windows of so many characters, each from a zero state; the last one is shorter."""
    losses, total = _losses_of(model), 0.0
    targets = len(ids) - 1
    whole = targets // window
    begins = window * np.arange(whole)
    batches = [begins[i : i + rows, None] + np.arange(window) for i in range(0, whole, rows)]
    if whole * window < targets:
        batches.append(np.arange(whole * window, targets)[None])
    for places in batches:
        nats, _ = losses(ids[places], ids[places + 1], model.initial_state(len(places)))
        total += float(nats)
    return total / targets


def _losses_of(model):
    import tensorflow as tf

    @tf.function
    def losses(tokens, targets, states):
        """The sum over all targets, and the states after them."""
        logits, states = model.step(tokens, states)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        return tf.reduce_sum(tf.cast(nats, tf.float64)), states

    return lambda tokens, targets, states: losses(tf.constant(tokens), tf.constant(targets), states)


def compress(name, training, validation):
    """What the validation text adds to the size of the compressed training text."""
    compressed, began = COMPRESSORS[name], time.perf_counter()
    added = len(compressed((training + validation).encode())) - len(compressed(training.encode()))
    return {"stream": added * 8 * math.log(2) / len(validation), "seconds": time.perf_counter() - began}


def nanogpt(checkout, text):
    """nanoGPT's recipe for a CPU by its own command; the loss is its own estimate, of windows of 64 characters."""
    data = Path(checkout, "data", "shakespeare_char")
    if not (data / "train.bin").exists():
        # Its script downloads a text only where there is none.
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
    """The name of a run among the results."""
    return f"{corpus}/{minutes:g}/seed{seed}"


def as_options(settings):
    """Settings as arguments of the command."""
    for name, value in settings.items():
        flag = name.replace("_", "-")
        yield from [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]


def all_settings(record):
    """The settings of a run; of options that it did not know yet, the defaults, which leave everything as it was."""
    return dataclasses.asdict(TrainingConfig(steps=1)) | {"steps": None} | record["settings"]


def has_none_of(record, settings):
    """Whether a run has these settings of a run without an ingredient itself; there is always something of nothing."""
    return settings != WITHOUT[NOTHING] and all_settings(record) | settings == all_settings(record)


def leave_out(settings, results, whole, run):
    """The record of a run like the whole one but for some settings; None if that one has these itself.

    Raises:
        MissingResultError: there is no run of the whole recipe to take the settings from.
    """
    if whole not in results:
        raise MissingResultError(f"There is no {whole} among the results, whose settings are needed.")
    recipe = all_settings(results[whole])
    if has_none_of(results[whole], settings):
        return None
    pinned = {name: recipe[name] for name in PINNED}
    record = run(ABLATION_MINUTES, ABLATION_SEED, list(as_options(pinned | settings)))
    return record | {"left_out": " ".join(as_options(settings))}


def jobs(arguments, results):
    """`{key: function that returns the record}` of everything that was asked for; `results` grow meanwhile."""
    wanted = {}
    if arguments.corpus:
        corpus, text = "tinyshakespeare", read(arguments.corpus, "tinyshakespeare")
        training, validation = split_text(text)
        for name in COMPRESSORS:
            wanted[f"{corpus}/{name}"] = partial(compress, name, training, validation)
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

"""Generates text with a model exported by tfcharlm. It needs numpy and ai-edge-litert only, not TensorFlow or tfcharlm.

python sample_litert.py shakespeare.tflite --prompt "ROMEO:" --length 300 --temperature 0.7 --seed 1
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model", help="the .tflite file; its .json file must be beside it")
parser.add_argument("--prompt", default="", help="text to continue; empty for the start of a line")
parser.add_argument("--length", type=int, default=300, help="number of characters, bytes or words to generate")
parser.add_argument(
    "--temperature", type=float, default=0.7, help="0: always the most likely token; 1: the model's distribution"
)
parser.add_argument("--seed", type=int, help="integer that makes the text repeatable")
options = parser.parse_args()
if not options.temperature >= 0:
    parser.error(f"--temperature must be a number from 0 up; received {options.temperature}.")

about = json.loads(Path(options.model + ".json").read_text(encoding="utf-8"))
tokens, states = about["tokens"], about["states"]
id_of = {token: i for i, token in enumerate(tokens)}
# A character that is not a token is spelled with the digits of its bytes, which are the last tokens. Row 0 is for the
# start of a character; a row has the next row for each digit, or -1 if the digit cannot follow.
spelling = about["spelling"]
first_digit = len(tokens) - len(spelling[0]) if spelling else len(tokens)


def spell(character):
    if not spelling:
        sys.exit(f"{character!r} is not in the model's vocabulary.")
    first, *others = character.encode("utf-8").hex().upper()
    return [id_of[f"<0x{first}>"], *(id_of[f"<{digit}>"] for digit in others)]


def encode(text):
    if about["level"] == "byte":  # a token is a byte, stored as the character with its number
        text = text.encode("utf-8", "surrogateescape").decode("latin-1")
    elif text != text.encode("utf-8", "ignore").decode():
        sys.exit(f"{text!r} is not text in UTF-8.")
    ids = []
    for piece in re.findall(about["pattern"], text):
        for part in [piece] if piece in id_of or not spelling else piece:
            ids += [id_of[part]] if part in id_of else spell(part)
    return ids


def decode(ids):
    text, digits = b"", ""
    for i in ids:
        if i < first_digit:
            text += tokens[i].encode("latin-1" if about["level"] == "byte" else "utf-8")
        else:
            digits += tokens[i][-2]
            if len(digits) == 2:
                text, digits = text + bytes.fromhex(digits), ""
    # At the end of the text, a character that is not whole is left out.
    return text.decode("utf-8", "replace" if about["level"] == "byte" else "ignore")


def can_follow(logits, row):
    """The logits, with those of tokens that cannot follow at -infinity."""
    if spelling:
        logits[first_digit:][np.array(spelling[row]) < 0] = -np.inf
        logits[:first_digit] = -np.inf if row else logits[:first_digit]
    return logits


step = Interpreter(options.model).get_signature_runner("step")
memory = {state["input"]: np.zeros((1, *state["shape"][1:]), np.float32) for state in states}


def read(token):
    """Reads one token, updates the states, and returns the logits of the next token."""
    results = step(tokens=np.array([[token]], np.int32), **memory)
    memory.update({state["input"]: results[state["output"]] for state in states})
    return results["logits"][0, 0]


def choose(logits, random):
    if options.temperature == 0:
        return int(logits.argmax())
    logits = (logits - logits.max()).astype(np.float64) / options.temperature
    return int(random.choice(len(logits), p=np.exp(logits) / np.exp(logits).sum()))


random = np.random.default_rng(options.seed)
text = encode(options.prompt)
given = about["start"] + text  # the model reads a newline before a line, if its vocabulary has one
if not given:
    sys.exit("an empty prompt starts a line, but this model has no newline in its vocabulary; give a --prompt.")
for token in given:
    logits = read(token)
row = 0
for _ in range(options.length):
    token = choose(can_follow(logits, row), random)
    row = spelling[row][token - first_digit] if token >= first_digit else 0
    text.append(token)
    logits = read(token)
print(decode(text))

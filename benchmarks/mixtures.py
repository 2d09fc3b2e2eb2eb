"""A network mixed with models that count: what the one knows and the other does not.

    python benchmarks/mixtures.py saved_models/plays training.txt held_out.txt

prints bits per character of the held-out text as one JSON object:

- `network`, `kneser_ney`: alone; the order of the n-grams is 6;
- `mixture`: 0.7 of the probability of the network and 0.3 of that of the n-grams. These numbers, the order and all
  constants below are guesses; none was tuned. Nothing is learned from the held-out text.
- `adaptive_network`: the network learns while it reads (`score --adapt`);
- `adaptive_mixture`: with the n-grams and with `Matches`, which looks for the last place where the text was the same.
  Their weights follow from how well each of them has predicted so far, for every length of a match.

Reference: Mahoney (2005), Adaptive weighing of context models for lossless data compression, for matches; Herbster &
Warmuth (1998), Tracking the best expert, for weights that may change.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

ORDER, NETWORK_SHARE = 6, 0.7
# Contexts by which a match is found, the longest first, and the longest match that is told from longer ones.
CONTEXTS, LONGEST = (20, 10, 5), 32
# Of a weight, so much is shared equally after every symbol, so that none of them stays near 0.
SHARE = 0.002
TABLE_BITS = 22


class Matches:
    """Predicts the symbol that followed when the last symbols were the same before.

    How far it can be trusted, it learns for every length of a match from how often it was right.

    Args:
        before: int array (N,), the text to train on, in which a match may be.
        size: V, the number of different symbols.
    """

    def __init__(self, before: np.ndarray, size: int) -> None:
        self.before, self.size = before, size

    def read(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities of all symbols but the first, each given those before it.

        Args:
            symbols: int array (T,).

        Returns:
            `(probabilities (T - 1,), lengths (T - 1,))`: the lengths of the matches; 0 where there was none.
        """
        everything = np.concatenate([self.before, symbols])
        slots = [_slots(everything, context) for context in CONTEXTS]
        begin = len(self.before)
        tables = []
        for slot in slots:
            table = np.zeros(1 << TABLE_BITS, np.int64)
            table[slot[:begin]] = np.arange(1, begin + 1)  # of equal slots, the last one counts
            tables.append(table.tolist())
        text, slots = everything.tolist(), [slot.tolist() for slot in slots]
        right, tried = [1.0] * (LONGEST + 1), [2.0] * (LONGEST + 1)
        probabilities, lengths = np.full(len(symbols) - 1, 1 / self.size), np.zeros(len(symbols) - 1, int)
        place = length = 0
        for i in range(begin, len(text) - 1):
            if length and text[place] == text[i]:
                place, length = place + 1, min(length + 1, LONGEST)
            else:
                length = 0
            for context, table, slot in zip(CONTEXTS, tables, slots, strict=True):
                if length < context and (found := table[slot[i]]):
                    longer = _common(text, found - 1, i)
                    if longer > length and longer >= context:
                        place, length = found, longer
                table[slot[i]] = i + 1
            if length:
                is_right = text[place] == text[i + 1]
                trust = right[length] / tried[length]
                probabilities[i - begin] = trust if is_right else (1 - trust) / (self.size - 1)
                lengths[i - begin] = length
                right[length] += is_right
                tried[length] += 1
        return probabilities, lengths


def _slots(symbols, context):
    """Where in a table the last symbols belong, for every position."""
    hashes, numbers = np.zeros(len(symbols), np.uint64), symbols.astype(np.uint64) + np.uint64(1)
    for back in range(context):
        hashes[back:] = hashes[back:] * np.uint64(0x9E3779B97F4A7C15) + numbers[: len(symbols) - back]
    return (hashes >> np.uint64(64 - TABLE_BITS)).astype(np.int64)


def _common(text, one, other):
    """How many symbols before and at two positions are the same, up to the longest that counts."""
    length = 0
    while length < LONGEST and one >= length and text[one - length] == text[other - length]:
        length += 1
    return length


def mixed(experts: Sequence[np.ndarray], kinds: Iterable[int], shares: Sequence[float]) -> np.ndarray:
    """The probabilities of a mixture whose weights follow the experts that have predicted best so far.

    Args:
        experts: for each expert, its probabilities, float (T,).
        kinds: for each symbol, a number; symbols of different kinds have weights of their own.
        shares: the first weights.

    Returns:
        float (T,).
    """
    weights: dict[int, list[float]] = {}
    found = []
    for kind, *probabilities in zip(kinds, *(expert.tolist() for expert in experts), strict=True):
        own = weights.setdefault(kind, list(shares))
        parts = [weight * probability for weight, probability in zip(own, probabilities, strict=True)]
        total = sum(parts)
        found.append(total)
        weights[kind] = [(1 - SHARE) * part / total + SHARE / len(parts) for part in parts]
    return np.array(found)


def measured(model, training: str, held_out: str) -> dict[str, float]:
    """The bits per character of each model and mixture.

    Args:
        model: a `CharLM` whose vocabulary has a newline.
        training: the text to count.
        held_out: the text to read once.
    """
    from tfcharlm import DynamicEvaluation
    from tfcharlm.analysis import KneserNey

    vocabulary = model.vocabulary
    before, symbols = vocabulary.encode(training), vocabulary.encode(held_out)
    size, read = len(vocabulary), np.concatenate([vocabulary.line_start, symbols]).astype(np.int64)
    characters = len(held_out)
    network = np.exp(model.token_log_probabilities(held_out))
    adaptive = np.exp(DynamicEvaluation(model).read(held_out))
    counted = KneserNey([before], ORDER, size).probabilities([read])
    matched, lengths = Matches(before.astype(np.int64), size).read(read)
    found = {
        "network": network,
        "kneser_ney": counted,
        "mixture": NETWORK_SHARE * network + (1 - NETWORK_SHARE) * counted,
        "adaptive_network": adaptive,
        "adaptive_mixture": mixed([adaptive, counted, matched], lengths.tolist(), [0.8, 0.15, 0.05]),
    }
    return {name: float(-np.log2(values).sum()) / characters for name, values in found.items()}


def main() -> None:
    import tfcharlm

    model, *paths = sys.argv[1:]
    training, held_out = (Path(path).read_text("utf-8") for path in paths)
    print(json.dumps(measured(tfcharlm.load_model(model), training, held_out)))


if __name__ == "__main__":
    main()

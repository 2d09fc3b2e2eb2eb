"""How long it takes to save a run, and how long a run that resumes near the end of a long text waits for a batch.

    python benchmarks/checkpoint.py                     # about a minute, 1 GB in the temporary directory

Results go to benchmarks/results/checkpoint.md.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from alternating import environment

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULTS = Path(__file__).parent / "results"
UNITS, BATCH, LENGTH, SYMBOLS, EMBEDDING = (256, 512), 64, 64, 65, 64
ROUNDS = 15
# The long text: its number of ids, one byte each, and the rounds for it.
IDS, LONG_ROUNDS = 10**9, 5


def seconds_of(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def run_of(units):
    """A run in progress: its model, the state of its optimizer, and the best weights so far."""
    import keras
    import numpy as np

    import tfcharlm
    from tfcharlm.checkpoint.progress import FitProgress
    from tfcharlm.training import Budget, PeriodicEvaluation

    vocabulary = tfcharlm.text.Vocabulary([chr(48 + i) for i in range(SYMBOLS)])
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(units)], EMBEDDING, dropout=0.1)
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=1.0))
    ids = np.random.default_rng(0).integers(SYMBOLS, size=5 * BATCH * LENGTH)
    data = tfcharlm.text.stream_dataset(ids, BATCH, LENGTH, seed=0)
    model.fit(data, verbose=0)
    evaluations = PeriodicEvaluation(data, Budget(steps=1), BATCH * LENGTH, 1, print)
    evaluations.best, evaluations.best_weights = 1.0, model.get_weights()
    return FitProgress(model, data, {"callbacks": [evaluations]})


def saves(directory):
    """`{units: (parameters, bytes, seconds of saves, seconds of loads)}`; the two sizes are measured in turn."""
    from tfcharlm.checkpoint import CheckpointStore

    works = {}
    for units in UNITS:
        Path(directory, str(units)).mkdir()
        works[units] = (run_of(units), CheckpointStore(Path(directory, str(units))), [], [])
    for number in range(1 + ROUNDS):
        for run, store, saving, loading in works.values():
            saved = seconds_of(lambda: store.save(number, run.tree()))  # noqa: B023, called at once
            loaded = seconds_of(lambda: run.restore(store.load(number)))  # noqa: B023
            if number:
                saving.append(saved)
                loading.append(loaded)
    return {
        units: (
            run.model.count_params(),
            sum(path.stat().st_size for path in store.path(ROUNDS).iterdir()),
            saving,
            loading,
        )
        for units, (run, store, saving, loading) in works.items()
    }


def resumes(directory):
    """Seconds of each round: to hash the ids of a long text, and then to make its last batch."""
    import numpy as np

    import tfcharlm

    path = Path(directory, "ids")
    part = np.random.default_rng(0).integers(SYMBOLS, size=IDS // 100, dtype=np.uint8).tobytes()
    with path.open("wb") as file:
        for _ in range(100):
            file.write(part)
    sums, batches = [], []
    for number in range(1 + LONG_ROUNDS):
        ids = np.memmap(path, np.uint8, "r")
        data = tfcharlm.text.stream_dataset(ids, BATCH, LENGTH, seed=0)
        last = int(data.cardinality()) - 1
        summed = seconds_of(data.source.description)
        read = seconds_of(lambda: next(iter(data.source.starting_at(last))))  # noqa: B023
        if number:
            sums.append(summed)
            batches.append(read)
    return sums, batches, last


def main():
    began = time.strftime("%H:%M UTC", time.gmtime())
    with tempfile.TemporaryDirectory() as directory:
        saved, (sums, batches, last) = saves(directory), resumes(directory)
    text = "\n".join(
        [
            f"`python benchmarks/checkpoint.py`; {environment()}, {began}; shared with others. Medians of {ROUNDS} "
            f"rounds, of {LONG_ROUNDS} for the long text (the shortest one). LSTM, Adam, best weights, "
            f"{BATCH} rows of {LENGTH} tokens; saves every 30 s, `fsync` included.",
            "\n| units | parameters | MB | save, ms | of the time | load, ms |\n|---|---|---|---|---|---|",
            *(
                f"| {units} | {parameters:,} | {size / 1e6:.1f} | {both(saving)} | "
                f"{statistics.median(saving) / 30:.2%} | {both(loading)} |"
                for units, (parameters, size, saving, loading) in saved.items()
            ),
            f"\n| resuming at batch {last:,} of a mapped file of {IDS:,} ids, in the page cache | ms |\n|---|---|",
            f"| SHA-256 of the ids | {both(sums)} |",
            f"| from there to the first batch | {both(batches)} |",
            f"| both | {both([a + b for a, b in zip(sums, batches, strict=True)])} |",
        ]
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "checkpoint.md").write_text(text + "\n")
    print(text)


def both(seconds):
    return f"{1e3 * statistics.median(seconds):,.0f} ({1e3 * min(seconds):,.0f})"


if __name__ == "__main__":
    main()

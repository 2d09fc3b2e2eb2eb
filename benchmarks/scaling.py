"""The cost of a training step with several workers: compute and all-reduce, and a prediction for many workers.

    python benchmarks/scaling.py                        # about 5 minutes, two cores

Each worker is a process with one core; they communicate over the loopback device. What is compared is measured in turn.
Results go to benchmarks/results/scaling.md, with the predictions that docs/scaling.md explains.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from alternating import environment, timed

RESULTS = Path(__file__).parent / "results"
UNITS, LENGTH, ROUNDS = 256, 64, 11
STEPS = ("alone", "beside another", "2 workers")
ROWS, MORE_ROWS = 32, (4, 8, 16, 32, 64)
# The all-reduces: numbers of workers and of floats.
REDUCTIONS = [(2, 1), (3, 1), (4, 1), (2, 100_000), (2, 350_000), (3, 350_000), (4, 350_000), (2, 4_000_000)]
BATCHES = (64, 4_096, 65_536)
# The latency of a message between two machines, without the time of the software, and the bytes per second. These are
# assumed, not measured.
NETWORKS = {"1 Gbit/s": (100e-6, 0.117e9), "10 Gbit/s": (50e-6, 1.17e9), "100 Gbit/s": (10e-6, 11.7e9)}
WORKERS = (1, 2, 8, 64, 256, 1024)
WEAK_ROWS, STRONG_BATCH = 64, 4_096


class Crew:
    """Processes that do the same work at the same time; if `connected`, as the workers of one job."""

    def __init__(self, size, connected=False):
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
        cluster = {"worker": [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]}
        for s in sockets:
            s.close()
        tasks = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(size)]
        self.processes = [self._start(json.dumps(task) if connected else "") for task in tasks]

    def _start(self, task):
        variables = {"TF_CONFIG": task, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
        return subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def seconds(self, kind, size, times):
        """The seconds of the slowest process for one of `times` repetitions."""
        for process in self.processes:
            print(json.dumps([kind, size, times]), file=process.stdin, flush=True)
        return max(json.loads(process.stdout.readline()) for process in self.processes)

    def close(self):
        for process in self.processes:
            process.stdin.close()
            process.wait()


def serve():
    """The loop of a process: it reads a kind of work, its size and the number of repetitions, and writes seconds."""
    import tfcharlm
    from tfcharlm.training import strategy_from_environment

    tfcharlm.configure_threads(cores=1)
    strategy, ready = strategy_from_environment(), {}
    for line in sys.stdin:
        kind, size, times = json.loads(line)
        if (kind, size) not in ready:
            ready[kind, size] = {"step": step, "reduce": reduce, "batch": batch}[kind](strategy, size)
        print(json.dumps(ready[kind, size](times)), flush=True)


def step(strategy, rows):
    """A training step, with `rows` rows for each replica."""
    import keras

    import tfcharlm

    vocabulary = tfcharlm.text.Vocabulary([chr(48 + i) for i in range(65)])
    with strategy.scope():
        model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(UNITS)], 64)
        model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=1.0))
    model.make_train_function()
    batches = iter(stream(rows * strategy.num_replicas_in_sync))
    return timed(lambda: float(model.train_function(batches)["loss"]))


def reduce(strategy, floats):
    """An all-reduce: the sum of a vector over the replicas."""
    import tensorflow as tf

    vector = tf.ones(floats)

    @tf.function
    def total():
        return strategy.reduce("SUM", strategy.run(lambda: vector), axis=None)[0]

    return timed(lambda: total().numpy())


def batch(strategy, rows):
    """Making a batch: every worker makes the whole batch."""
    number = 20
    batches = stream(rows).take(number)

    def read():
        # A new iterator each time, because an old one would already hold batches that were made in advance.
        for _ in batches:
            pass

    return lambda times: timed(read)(times) / number


def stream(rows):
    import numpy as np

    import tfcharlm

    ids = np.random.default_rng(0).integers(65, size=2 * max(500_000, rows * LENGTH))
    return tfcharlm.text.stream_dataset(ids, rows, LENGTH, seed=0, epochs=None)


def measured():
    """`{(crew, kind, size): [seconds of every round]}`. Each work has its turn in a round; the first does not count."""
    crews = {"alone": Crew(1), "beside another": Crew(2)} | {f"{n} workers": Crew(n, True) for n in (2, 3, 4)}
    works = [(crew, "step", ROWS, 5) for crew in STEPS]
    works += [("alone", "step", rows, 5) for rows in MORE_ROWS if rows != ROWS]
    works += [(f"{n} workers", "reduce", floats, 20) for n, floats in REDUCTIONS]
    works += [("alone", "batch", rows, 1) for rows in BATCHES]
    seconds = {work[:3]: [] for work in works}
    for number in range(1 + ROUNDS):
        for crew, *work in works:
            took = crews[crew].seconds(*work)
            if number:
                seconds[crew, *work[:2]].append(took)
        print(f"round {number} of {ROUNDS}", file=sys.stderr, flush=True)
    for crew in crews.values():
        crew.close()
    return seconds


def best(seconds):
    """The shortest round of every work, because other processes on the machine can only add time."""
    return {work: min(values) for work, values in seconds.items()}


def fitted(columns, seconds):
    """The coefficients that minimize the squares of the relative errors."""
    import numpy as np

    seconds = np.array(seconds)
    return np.linalg.lstsq(np.array(columns) / seconds[:, None], np.ones_like(seconds), rcond=None)[0]


def ring(workers, floats):
    """(messages, bytes) that a worker sends in an all-reduce: 2 (n - 1) messages, each with an n-th of the floats."""
    return 2 * (workers - 1), 2 * (workers - 1) / workers * 4 * floats


def main():
    if "--worker" in sys.argv:
        return serve()
    import tfcharlm

    vocabulary = tfcharlm.text.Vocabulary([chr(48 + i) for i in range(65)])
    parameters = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(UNITS)], 64).count_params()
    began = time.strftime("%H:%M UTC", time.gmtime())
    seconds = measured()
    text = "\n".join(
        [
            f"`python benchmarks/scaling.py`; {environment()}, {began}; shared with others. Milliseconds of the "
            f"best of {ROUNDS} rounds (median). LSTM of {UNITS} units, chunks of {LENGTH} tokens, {parameters:,} "
            "parameters; one core for each process.",
            *tables(seconds),
            *predictions(best(seconds), parameters),
        ]
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scaling.md").write_text(text + "\n")
    print(text)


def tables(seconds):
    """The tables of what was measured."""

    def row(name, *work):
        values = seconds[work]
        return f"| {name} | {1e3 * min(values):.2f} | ({1e3 * statistics.median(values):.2f}) |"

    yield f"\n| a step of {ROWS} rows | ms | |\n|---|---|---|"
    yield from (row(crew, crew, "step", ROWS) for crew in STEPS)
    yield "\n| a step, alone | ms | |\n|---|---|---|"
    yield from (row(f"{rows} rows", "alone", "step", rows) for rows in MORE_ROWS)
    yield "\n| an all-reduce | ms | |\n|---|---|---|"
    yield from (row(f"{n} workers, {floats:,} floats", f"{n} workers", "reduce", floats) for n, floats in REDUCTIONS)
    yield "\n| making a batch | ms | |\n|---|---|---|"
    yield from (row(f"{rows:,} rows", "alone", "batch", rows) for rows in BATCHES)


def predictions(seconds, parameters):
    """The parameters of the fitted model, and its predictions for many workers."""
    base, a_row = fitted([(1, rows) for rows in MORE_ROWS], [seconds["alone", "step", rows] for rows in MORE_ROWS])
    reductions = [seconds[f"{n} workers", "reduce", floats] for n, floats in REDUCTIONS]
    message, a_byte = fitted([ring(*work) for work in REDUCTIONS], reductions)
    yield f"\nA step: {1e3 * base:.1f} ms and {1e3 * a_row:.2f} ms per row."
    yield f"A message: {1e3 * message:.2f} ms and {1e-9 / a_byte:.2f} GB/s."
    for title, rows_of in (
        (f"Weak scaling, {WEAK_ROWS} rows per worker", lambda n: WEAK_ROWS),
        (f"Strong scaling, {STRONG_BATCH:,} rows in all", lambda n: STRONG_BATCH / n),
    ):
        yield f"\n{title}: milliseconds of a step (fraction of it that is compute).\n"
        yield "| workers | compute | " + " | ".join(NETWORKS) + " |\n|---|---|" + "---|" * len(NETWORKS)
        for n in WORKERS:
            compute, (messages, size) = base + a_row * rows_of(n), ring(n, parameters)
            wholes = [
                compute + messages * (message + latency) + size * max(a_byte, 1 / bandwidth)
                for latency, bandwidth in NETWORKS.values()
            ]
            cells = " | ".join(f"{1e3 * whole:,.0f} ({compute / whole:.0%})" for whole in wholes)
            yield f"| {n:,} | {1e3 * compute:,.0f} | {cells} |"


if __name__ == "__main__":
    main()

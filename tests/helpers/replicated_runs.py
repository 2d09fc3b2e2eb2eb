"""Runs of several replicas. As a program, this module is a worker that trains, is interrupted, or dies.

The workers are real processes that meet on the loopback device.
"""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfcharlm
from helpers.processes import environment
from tfcharlm.checkpoint.state import values_of
from tfcharlm.text import Vocabulary, line_dataset, stream_dataset
from tfcharlm.training import strategy_from_environment

VOCABULARY = Vocabulary("abcdefghijk\n")
# Five rows on two workers: one has two of them, the other three.
ROWS, LENGTH, STEPS = 5, 7, 100


def batches(kind):
    """Documents of 2 to 40 tokens, ending in padding, so that rows begin at any step; or lines, once a single one."""
    rng = np.random.default_rng(5)
    if kind == "documents":
        documents = [rng.integers(len(VOCABULARY), size=size) for size in rng.integers(2, 41, size=53)]
        return stream_dataset(documents, ROWS, LENGTH, seed=3, epochs=None)
    lines = ["".join(rng.choice(list("abcdefghijk"), size)) for size in rng.integers(1, 9, size=ROWS * 6 + 1)]
    return line_dataset(lines, VOCABULARY, ROWS, seed=3, epochs=None)


def make_model(strategy, layers=1, dropout=0.0):
    keras.utils.set_random_seed(7)
    with strategy.scope():
        cells = [tfcharlm.LSTMCell(11), tfcharlm.RNNCell(7)][:layers]
        model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=3, dropout=dropout)
        # Half of the gradients are clipped: of those alone, or with Adam, a wrong scale would not be seen.
        model.compile(keras.optimizers.SGD(0.3, momentum=0.9, global_clipnorm=0.22))
    return model


def train(kind, strategy):
    """(the model, {name: array} of what it has come to)."""
    model = make_model(strategy, layers=2 if kind == "lines" else 1)
    held_out = stream_dataset(np.arange(97) % 11, ROWS, LENGTH, drop_remainder=False)
    history = model.fit(
        batches(kind), steps_per_epoch=STEPS // 2, epochs=2, validation_data=held_out, verbose=2
    ).history
    arrays = {f"weight {i}": array for i, array in enumerate(model.get_weights())}
    for i, variable in enumerate(model.carried_variables):
        arrays[f"state {i}"] = np.concatenate(strategy.experimental_local_results(variable))
    return model, arrays | {f"history {name}": np.array(values) for name, values in history.items()}


def every_step(function):
    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: function(step))


def endless(model, on_step):
    """The name of what ends a training that has no end."""
    try:
        model.fit(batches("documents"), steps_per_epoch=10**9, verbose=0, callbacks=[every_step(on_step)])
    except BaseException as error:
        return type(error).__name__


def work(kind, directory):
    """A worker's life: it trains, is interrupted because worker 1 was, and loses worker 1."""
    tfcharlm.configure_threads(cores=1)
    strategy = strategy_from_environment()
    model, arrays = train(kind, strategy)
    rank = strategy.cluster_resolver.task_id
    np.savez(directory / f"{rank}.npz", **arrays)
    told = {"chief": model.replicas.is_chief, "clock": model.replicas.clock()}
    try:
        model.evaluate(stream_dataset(np.arange(9), 1, 4), verbose=0)
    except ValueError as error:
        told["too few rows"] = str(error)
    told["interrupted"] = endless(model, lambda step: rank == 1 and step == 2 and model.replicas.interrupt())
    (directory / f"{rank}.json").write_text(json.dumps(told))
    told["lost"] = endless(model, lambda step: rank == 1 and step == 2 and os.kill(os.getpid(), signal.SIGKILL))
    (directory / f"{rank}.json").write_text(json.dumps(told))


def mirrored(kind, directory):
    """Two replicas in one process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    _, arrays = train(kind, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    np.savez(directory / "mirrored.npz", **arrays)


def survive(death, directory):
    """A worker that saves its run and resumes it. Worker 1 dies after the given number of steps, unless that is 0."""
    tfcharlm.configure_threads(cores=1)
    strategy = strategy_from_environment()
    model = make_model(strategy, layers=2, dropout=0.3)
    rank, steps = strategy.cluster_resolver.task_id, itertools.count(1)

    def die(step):
        if next(steps) == int(death) and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks = [every_step(die), tfcharlm.Checkpoint(directory / "run", steps=7)]
    data = batches("documents")
    history = model.fit(data, steps_per_epoch=20, epochs=3, verbose=0, callbacks=callbacks).history
    np.savez(directory / f"{rank}.npz", *itertools.chain(*values_of(model.run_state).values(), history.values()))


def start(task, kind, directory, **variables):
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore::DeprecationWarning",
            "-m",
            "helpers.replicated_runs",
            task,
            kind,
            directory,
        ],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def two_workers(kind, directory, task="work"):
    """What each of them prints."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]}
    for s in sockets:
        s.close()
    configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in (0, 1)]
    processes = [start(task, kind, directory, TF_CONFIG=config) for config in configs]
    try:
        return [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


if __name__ == "__main__":
    {"work": work, "mirrored": mirrored, "survive": survive}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))

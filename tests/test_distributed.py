"""Several replicas against one process: the same weights, states and metrics; and what happens when one is lost.

The workers are real processes that meet on the loopback device; each runs this file.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import distributed
from tfcharlm.checkpoint.state import values_of
from tfcharlm.text import Vocabulary, line_dataset, stream_dataset

VOCABULARY = Vocabulary("abcdefghijk\n")
# Five rows on two workers: one has two of them, the other three.
ROWS, LENGTH, STEPS = 5, 7, 100


def batches(kind):
    """Documents of 2 to 40 tokens, ending in padding, so that rows begin at any step; or lines, once a single one."""
    rng = np.random.default_rng(5)
    if kind == "documents":
        documents = [rng.integers(len(VOCABULARY), size=size) for size in rng.integers(2, 41, size=53)]
        return stream_dataset(documents, ROWS, LENGTH, seed=3, passes=None)
    lines = ["".join(rng.choice(list("abcdefghijk"), size)) for size in rng.integers(1, 9, size=ROWS * 6 + 1)]
    return line_dataset(lines, VOCABULARY, ROWS, seed=3, passes=None)


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
    strategy = distributed.strategy_of_environment()
    model, arrays = train(kind, strategy)
    rank = strategy.cluster_resolver.task_id
    np.savez(directory / f"{rank}.npz", **arrays)
    said = {"chief": model.replicas.is_chief, "clock": model.replicas.clock()}
    try:
        model.evaluate(stream_dataset(np.arange(9), 1, 4), verbose=0)
    except ValueError as error:
        said["too few rows"] = str(error)
    said["interrupted"] = endless(model, lambda step: rank == 1 and step == 2 and model.replicas.interrupt())
    (directory / f"{rank}.json").write_text(json.dumps(said))
    said["lost"] = endless(model, lambda step: rank == 1 and step == 2 and os.kill(os.getpid(), signal.SIGKILL))
    (directory / f"{rank}.json").write_text(json.dumps(said))


def mirrored(kind, directory):
    """Two replicas in one process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    _, arrays = train(kind, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    np.savez(directory / "mirrored.npz", **arrays)


def survive(death, directory):
    """A worker that saves its run and goes on with it; worker 1 dies after so many steps, if not 0."""
    tfcharlm.configure_threads(cores=1)
    strategy = distributed.strategy_of_environment()
    model = make_model(strategy, layers=2, dropout=0.3)
    rank, steps = strategy.cluster_resolver.task_id, itertools.count(1)

    def die(step):
        if next(steps) == int(death) and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    callbacks = [every_step(die), tfcharlm.Checkpoint(directory / "run", steps=7)]
    data = batches("documents")
    history = model.fit(data, steps_per_epoch=20, epochs=3, verbose=0, callbacks=callbacks).history
    np.savez(directory / f"{rank}.npz", *itertools.chain(*values_of(model).values(), history.values()))


def start(task, kind, directory, **environment):
    return subprocess.Popen(
        [sys.executable, __file__, task, kind, directory],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | environment,
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


@pytest.fixture(scope="module")
def one():
    """What one process comes to."""
    return train("documents", tf.distribute.get_strategy())[1]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """(what two workers have come to, what they said, what they printed)."""
    directory = tmp_path_factory.mktemp("job")
    printed = two_workers("documents", directory)
    print(*printed, sep="\n")
    return (
        [np.load(directory / f"{rank}.npz") for rank in (0, 1)],
        [json.loads((directory / f"{rank}.json").read_text()) for rank in (0, 1)],
        printed,
    )


def assert_same(arrays, one, states):
    for name, expected in one.items():
        value = states[name] if name.startswith("state") else arrays[name]
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def joined(workers):
    """The states of all rows in order, from those that each worker has."""
    return {name: np.concatenate([w[name] for w in workers]) for name in workers[0] if name.startswith("state")}


def test_two_workers_train_as_one_process_does(job, one):
    """After 100 steps: weights, states row by row, losses of training and validation."""
    workers = job[0]
    assert [len(worker["state 0"]) for worker in workers] == [2, 3]
    for worker in workers:
        assert_same(worker, one, joined(workers))
    # Not only nearly, or they would part in time.
    for name in (name for name in one if not name.startswith("state")):
        np.testing.assert_array_equal(workers[0][name], workers[1][name])


def test_only_the_chief_prints_and_its_clock_goes_round(job):
    _, said, printed = job
    assert [worker["chief"] for worker in said] == [True, False]
    assert said[0]["clock"] == said[1]["clock"] > 0
    assert ["val_loss" in text for text in printed] == [True, False]


def test_every_replica_needs_a_row(job):
    assert [worker["too few rows"] for worker in job[1]] == [
        "a batch must have a row for each of 2 replicas or more; received 1."
    ] * 2


def test_an_interruption_of_one_worker_reaches_all(job):
    assert [worker["interrupted"] for worker in job[1]] == ["KeyboardInterrupt"] * 2


def test_a_lost_worker_ends_the_others(job):
    said = job[1]
    assert said[0]["lost"] == "WorkerLostError"
    assert "lost" not in said[1]


@pytest.mark.slow
def test_a_job_that_is_started_again_goes_on_as_if_nothing_had_been(tmp_path):
    """Bit for bit: weights, optimizer, states and dropout of each worker, history."""
    (tmp_path / "killed").mkdir()
    print(*two_workers("0", tmp_path, "survive"))
    said = two_workers("33", tmp_path / "killed", "survive")
    assert "another worker does not answer" in said[0]
    # As if it had been killed in its last save.
    shutil.rmtree(tmp_path / "killed" / "run" / "worker-1" / "checkpoint-0000000028")
    assert [f"worker-{rank}: the run goes on after step 21." in text
            for rank, text in enumerate(two_workers("0", tmp_path / "killed", "survive"))] == [True, True]  # fmt: skip
    for rank in (0, 1):
        whole, killed = np.load(tmp_path / f"{rank}.npz"), np.load(tmp_path / "killed" / f"{rank}.npz")
        assert whole.files == killed.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], killed[name])
    # The rows of a worker whose disk is lost are lost; nobody begins them anew unasked.
    shutil.rmtree(tmp_path / "killed" / "run" / "worker-1")
    # The one that ends last may hear no more than that the other has ended.
    said = two_workers("0", tmp_path / "killed", "survive")
    assert any("the workers have checkpoints of the steps 60, none" in text for text in said)
    assert all("Error: " in text for text in said)


@pytest.mark.slow
def test_lines_of_two_workers_when_one_has_none(tmp_path):
    """Batches of any size, and one of a single line in each pass."""
    print(*two_workers("lines", tmp_path), sep="\n")
    workers = [np.load(tmp_path / f"{rank}.npz") for rank in (0, 1)]
    _, one = train("lines", tf.distribute.get_strategy())
    assert_same(workers[0], one, joined(workers))


@pytest.mark.slow
def test_two_replicas_in_one_process_train_as_one_does(one, tmp_path):
    print(start("mirrored", "documents", tmp_path).communicate(timeout=300)[0])
    arrays = np.load(tmp_path / "mirrored.npz")
    assert_same(arrays, one, arrays)


def test_one_replica_under_a_strategy_is_none(one):
    _, same = train("documents", tf.distribute.OneDeviceStrategy("CPU:0"))
    assert_same(same, one, same)


def test_errors_under_a_strategy():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    model = make_model(strategy)
    with pytest.raises(ValueError, match="received steps_per_execution=2"):
        model.compile(steps_per_execution=2)
    with pytest.raises(ValueError, match="takes no metrics"):
        model.compile(metrics=["accuracy"])
    with pytest.raises(ValueError, match="received ndarray"):
        model.fit(np.zeros((4, 3), int), np.zeros((4, 3), int))
    with pytest.raises(RuntimeError, match="evaluate after the block"), strategy.scope():
        model.evaluate(batches("lines").take(1))
    with pytest.raises(ValueError, match="received CentralStorageStrategy"):
        make_model(tf.distribute.experimental.CentralStorageStrategy(["CPU:0"]))


def test_workers_of_the_environment(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "a:2", "[::1]:3", "a:4"], "evaluator": ["a:9"]}
    for task, index, count in (("chief", 0, 3), ("worker", 0, 1), ("worker", 1, 3), ("worker", 2, 1)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": task, "index": index}}))
        assert distributed.workers_of_this_machine() == count
    broken = ["{", '{"cluster": 3}', '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}']
    for text in broken:
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match="TF_CONFIG must be JSON"):
            distributed.strategy_of_environment()
    for text in ("{}", ""):
        monkeypatch.setenv("TF_CONFIG", text)
        assert distributed.strategy_of_environment().num_replicas_in_sync == 1


if __name__ == "__main__":
    {"work": work, "mirrored": mirrored, "survive": survive}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))

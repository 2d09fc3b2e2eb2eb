"""Several replicas against one process: the same weights, states and metrics; and what happens when one is lost."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from helpers.replicated_runs import batches, make_model, start, train, two_workers


@pytest.fixture(scope="module")
def one():
    """What one process comes to."""
    return train("documents", tf.distribute.get_strategy())[1]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """(what two workers have come to, what they told, what they printed)."""
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


def test_only_the_chief_prints_and_all_have_its_clock(job):
    _, told, printed = job
    assert [worker["chief"] for worker in told] == [True, False]
    assert told[0]["clock"] == told[1]["clock"] > 0
    assert ["val_loss" in text for text in printed] == [True, False]


def test_every_replica_needs_a_row(job):
    assert [worker["too few rows"] for worker in job[1]] == [
        "batch_size must be at least 2, the number of replicas; received 1."
    ] * 2


def test_an_interruption_of_one_worker_reaches_all(job):
    assert [worker["interrupted"] for worker in job[1]] == ["KeyboardInterrupt"] * 2


def test_a_lost_worker_ends_the_others(job):
    told = job[1]
    assert told[0]["lost"] == "WorkerLostError"
    assert "lost" not in told[1]


@pytest.mark.slow
def test_a_job_that_is_started_again_continues_as_if_nothing_had_happened(tmp_path):
    """Bit for bit: weights, optimizer, states and dropout of each worker, history."""
    (tmp_path / "killed").mkdir()
    print(*two_workers("0", tmp_path, "survive"))
    told = two_workers("33", tmp_path / "killed", "survive")
    assert "another worker does not answer" in told[0]
    # As if it had been killed in its last save.
    shutil.rmtree(tmp_path / "killed" / "run" / "worker-1" / "checkpoint-0000000028")
    assert [f"worker-{rank}: the run resumes after step 21." in text
            for rank, text in enumerate(two_workers("0", tmp_path / "killed", "survive"))] == [True, True]  # fmt: skip
    for rank in (0, 1):
        whole, killed = np.load(tmp_path / f"{rank}.npz"), np.load(tmp_path / "killed" / f"{rank}.npz")
        assert whole.files == killed.files
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], killed[name])
    # The rows of a worker whose disk is lost are lost; nothing restarts from scratch unless the user asks for it.
    shutil.rmtree(tmp_path / "killed" / "run" / "worker-1")
    # The one that ends last may hear no more than that the other has ended.
    told = two_workers("0", tmp_path / "killed", "survive")
    assert any("received checkpoints of the steps 60, none" in text for text in told)
    assert all("Error: " in text for text in told)


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
    with pytest.raises(ValueError, match="metrics must be None"):
        model.compile(metrics=["accuracy"])
    with pytest.raises(ValueError, match="received ndarray"):
        model.fit(np.zeros((4, 3), int), np.zeros((4, 3), int))
    with pytest.raises(RuntimeError, match="evaluate after the block"), strategy.scope():
        model.evaluate(batches("lines").take(1))
    with pytest.raises(ValueError, match="received CentralStorageStrategy"):
        make_model(tf.distribute.experimental.CentralStorageStrategy(["CPU:0"]))

"""Shards of a batch, and the threads that run them."""

import pytest
from helpers.fused import check_shards_keep_rows_in_order
from helpers.processes import run_python


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("known", [True, False])
def test_shards_keep_rows_in_order(rng, monkeypatch, count, known):
    check_shards_keep_rows_in_order(rng, monkeypatch, count, known)


THREADS = """
import tensorflow as tf, tfcharlm
tfcharlm.configure_threads(3)
counts = []
@tf.function
def f(x):
    from tfcharlm.kernels.shards import shard_count
    counts.extend(shard_count(rows) for rows in (1, 7, 8, 64, None))
    return x + 1
f(1)
print(counts, tf.config.threading.get_intra_op_parallelism_threads())
try:
    tfcharlm.configure_threads(5)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.slow
def test_threads_are_set_before_the_first_operation_only():
    counts, message = run_python(THREADS).splitlines()
    assert counts == "[1, 1, 2, 3, 3] 1"
    assert message.startswith("TensorFlow has already started its threads. Type tfcharlm.configure_threads() right")

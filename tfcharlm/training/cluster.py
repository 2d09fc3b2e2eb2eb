"""The cluster that a launcher describes in the environment: a strategy, and the workers on this machine."""

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfcharlm.training.meeting import meet, with_default_signals
from tfcharlm.training.peers import parse_address

# The tasks that train together. TensorFlow's other tasks, "ps" and "evaluator", do not.
TASKS = ("chief", "worker")


class Cluster(NamedTuple):
    """The addresses of the workers that train together, and the position of this one among them."""

    addresses: list[str]
    own: int


def strategy_from_environment(notify: Callable[[str], object] | None = None) -> tf.distribute.Strategy:
    """The strategy that the environment calls for: the workers in TF_CONFIG, or else all GPUs of this machine.

    Call it before TensorFlow's first operation. It waits until every worker has called it, but at most for the seconds
    in the environment variable `TFCHARLM_PEER_SECONDS`, an hour by default. Ctrl-C and SIGTERM end it at once.

    Args:
        notify: called with a line if workers are missing after 10 s; None (default) prints it to the standard error.

    Returns:
        A `tf.distribute.MultiWorkerMirroredStrategy` if TF_CONFIG has several workers; a `MirroredStrategy` if this
        machine has several GPUs; otherwise TensorFlow's default strategy, whose `scope()` changes nothing.

    Raises:
        ValueError: TF_CONFIG is not in TensorFlow's format, or its addresses cannot be right.
        OSError: another process has the port of this worker.
        TimeoutError: a worker does not come.

    Example:

    >>> from tfcharlm.training import strategy_from_environment
    >>> strategy_from_environment().num_replicas_in_sync
    1
    """
    cluster = _cluster()
    if len(cluster.addresses) > 1:
        meet(cluster.addresses, cluster.own, notify)
        # If a worker dies now, TensorFlow waits for it, and no Python code runs meanwhile.
        with with_default_signals():
            return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def workers_on_this_machine() -> int:
    """How many workers in TF_CONFIG run on this machine, including this one. They should divide its cores.

    Returns:
        1 or more.

    Raises:
        ValueError: TF_CONFIG is not in TensorFlow's format, or its addresses cannot be right.

    Example:

    >>> from tfcharlm.training import workers_on_this_machine
    >>> workers_on_this_machine()
    1
    """
    addresses, own = _cluster()
    hosts = [parse_address(address)[0] for address in addresses]
    return hosts.count(hosts[own]) if hosts else 1


def _cluster() -> Cluster:
    """The workers in TF_CONFIG; none if it is not set or has no cluster."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text) if text.strip() else {}
        return _checked(config) if config != {} else Cluster([], 0)
    except RecursionError:
        reason = "too many brackets"
    except ValueError as error:
        reason = str(error).rstrip(".")
    raise ValueError(
        "TF_CONFIG must be JSON such as "
        '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}; '
        f"received another value: {reason:.140}."
    )


def _checked(config: Any) -> Cluster:
    cluster, task = _object(config, "TF_CONFIG").get("cluster", {}), config.get("task", {})
    jobs = {job: _addresses_of(job, given) for job, given in _object(cluster, "cluster").items()}
    everybody = [address for addresses in jobs.values() for address in addresses]
    twice = sorted({address for address in everybody if everybody.count(address) > 1})
    if twice:
        raise ValueError(f"the address {twice[0]} is given twice")
    if len(jobs.get("chief", [])) > 1:
        raise ValueError(f"there are {len(jobs['chief'])} chiefs, and there must be one at most")
    together = [address for job in TASKS for address in jobs.get(job, [])]
    if not everybody:
        return Cluster([], 0)
    kind, index = _object(task, "task").get("type"), task.get("index", 0)
    if kind not in TASKS or kind not in jobs:
        raise ValueError(f"task type must be {' or '.join(job for job in TASKS if job in jobs)}; received {kind!r:.40}")
    # TensorFlow takes an index in quotes, too.
    number = int(index) if isinstance(index, str) and index.isascii() and index.isdecimal() else index
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(jobs[kind]):
        raise ValueError(f"task index must be from 0 to {len(jobs[kind]) - 1}; received {index!r:.40}")
    return Cluster(together, together.index(jobs[kind][number]))


def _object(value: Any, name: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object; received {value!r:.40}")
    return value


def _addresses_of(job: str, given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(address, str) for address in given):
        raise ValueError(f"{job:.40} must be a list of addresses; received {given!r:.40}")
    for address in given:
        parse_address(address)
    return given

"""The cluster that a launcher describes in the environment: a strategy, and the workers on this machine."""

import os

import tensorflow as tf


def strategy_from_environment() -> tf.distribute.Strategy:
    """The strategy that the environment calls for: the workers in TF_CONFIG, or else all GPUs of this machine.

    Call it before TensorFlow's first operation. It waits until every worker has called it.

    Returns:
        A `tf.distribute.MultiWorkerMirroredStrategy` if TF_CONFIG has several workers; a `MirroredStrategy` if this
        machine has several GPUs; otherwise TensorFlow's default strategy, whose `scope()` changes nothing.

    Raises:
        ValueError: TF_CONFIG is not in TensorFlow's format.

    Example:

    >>> from tfcharlm.training import strategy_from_environment
    >>> strategy_from_environment().num_replicas_in_sync
    1
    """
    if len(_addresses()[0]) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def workers_on_this_machine() -> int:
    """How many workers in TF_CONFIG run on this machine, including this one. They should divide its cores.

    Returns:
        1 or more.

    Raises:
        ValueError: TF_CONFIG is not in TensorFlow's format.

    Example:

    >>> from tfcharlm.training import workers_on_this_machine
    >>> workers_on_this_machine()
    1
    """
    addresses, own_address = _addresses()
    hosts = [address.rpartition(":")[0] for address in addresses]
    return max(1, hosts.count(own_address.rpartition(":")[0]))


def _addresses() -> tuple[list[str], str]:
    """The addresses of all workers in TF_CONFIG, and that of this one; none if TF_CONFIG is not set or empty."""
    if not os.environ.get("TF_CONFIG"):
        return [], ""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        cluster = resolver.cluster_spec().as_dict()
        own_address = cluster[resolver.task_type][resolver.task_id] if cluster else ""
        return [*cluster.get("chief", []), *cluster.get("worker", [])], own_address
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            "TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}; '
            f"received another value, with {error!r:.200}."
        ) from error

"""The cluster that a launcher describes in the environment: a strategy, and the workers on this machine."""

import os

import tensorflow as tf


def strategy_from_environment():
    """The strategy that a launcher asks for: the workers of TF_CONFIG, else all GPUs of this machine if several.

    To be called before TensorFlow's first operation. It waits until every worker has called it.

    Returns:
        A `tf.distribute.MultiWorkerMirroredStrategy`, a `MirroredStrategy`, or TensorFlow's default one, whose
        `scope()` changes nothing.

    Raises:
        ValueError: TF_CONFIG is not what TensorFlow reads.

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


def workers_on_this_machine():
    """How many workers of TF_CONFIG share this machine, this one included; each should take its share of the cores.

    Example:

    >>> from tfcharlm.training import workers_on_this_machine
    >>> workers_on_this_machine()
    1
    """
    addresses, own_address = _addresses()
    hosts = [address.rpartition(":")[0] for address in addresses]
    return max(1, hosts.count(own_address.rpartition(":")[0]))


def _addresses():
    """Of TF_CONFIG: the addresses of the workers, and the own one; none if it is not set or empty."""
    if not os.environ.get("TF_CONFIG"):
        return [], ""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        cluster = resolver.cluster_spec().as_dict()
        own = cluster[resolver.task_type][resolver.task_id] if cluster else ""
        return [*cluster.get("chief", []), *cluster.get("worker", [])], own
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            "TF_CONFIG must be JSON such as "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}; '
            f"received another, with {error!r}."
        ) from error

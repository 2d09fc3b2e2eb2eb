"""Data-parallel training: each replica reads its own rows of a batch, and what they find is added up.

A batch is a function of (seed, pass, step): every worker makes the same one and takes its rows, nothing is handed out.
"""

import contextlib
import time

import tensorflow as tf

SUPPORTED = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.OneDeviceStrategy,
)
# Arguments of `compile`, and the values that they must keep.
NOT_UNDER_A_STRATEGY = {"metrics": None, "weighted_metrics": None, "run_eagerly": False, "steps_per_execution": 1}


class WorkerLostError(ConnectionError):
    """Another worker does not answer; a job of several workers cannot go on without one."""


class Replicas:
    """The replicas of the strategy in whose scope this object is made; one replica outside of every scope.

    Raises:
        ValueError: the strategy is of another kind.

    Example:

    >>> from tfcharlm.model import Replicas
    >>> Replicas().is_distributed, Replicas().is_chief
    (False, True)
    """

    def __init__(self):
        self.strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
        if self.is_distributed and not isinstance(self.strategy, SUPPORTED):
            raise ValueError(
                f"a model is trained under {' or '.join(kind.__name__ for kind in SUPPORTED)}; "
                f"received {type(self.strategy).__name__}."
            )
        self._began, self._agreed, self._interrupted = None, 0.0, False

    @property
    def is_distributed(self):
        """Whether there is a strategy, with one replica or several."""
        return self.strategy is not None

    @property
    def count(self):
        """How many replicas there are."""
        return self.strategy.num_replicas_in_sync if self.is_distributed else 1

    @property
    def is_chief(self):
        """Whether this process is the one that prints and writes."""
        return self.worker in (None, 0)

    @property
    def worker(self):
        """The number of this process among the workers of a job, 0 for the chief; None if it is the only one."""
        resolver = self.strategy.cluster_resolver if self.is_distributed else None
        if resolver is None or not resolver.task_type:
            return None
        chiefs = len(resolver.cluster_spec().as_dict().get("chief", []))
        return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)

    def all_gather(self, number):
        """The numbers with which the workers call this, all of them, in the order of the workers; a list."""
        if self.worker is None:
            return [number]

        @tf.function
        def gathered():
            # Every replica of a worker gives its number, so there may be several of each.
            return self.strategy.run(lambda: tf.distribute.get_replica_context().all_gather(tf.constant([number]), 0))

        with _one_line_for_a_lost_worker():
            return self.strategy.experimental_local_results(gathered())[0].numpy().tolist()

    def scope(self):
        """The strategy's scope, for a `with`."""
        return self.strategy.scope() if self.is_distributed else contextlib.nullcontext()

    def clock(self):
        """Seconds on a clock that all workers agree upon: the chief's, from the first step to the last one's beginning.

        What depends on the time, when to stop and how fast to learn, must be the same everywhere.
        """
        return self._agreed if self.is_distributed else time.monotonic()

    def interrupt(self):
        """Has every worker raise KeyboardInterrupt after the next step. A handler of a signal may call it."""
        self._interrupted = True

    def step_function(self, on_rows, on_sums):
        """What Keras calls with an iterator for every batch.

        Args:
            on_rows: from the rows of a replica, as the data set has them, to a list of tensors.
            on_sums: from that list, every tensor added up over all replicas, to logs.
        """

        @tf.function(reduce_retracing=True, autograph=False)
        def step(data, elapsed, interrupted):
            def on_replica():
                agreed = tf.stack([elapsed if _replica()[0] == 0 else 0.0, interrupted])
                return [*on_rows(_own_rows(data)), agreed]

            *sums, agreed = self._summed(on_replica)
            return on_sums(sums), agreed

        def on_iterator(iterator):
            data = next(iterator)
            self._began = self._began or time.monotonic()
            elapsed, interrupted = time.monotonic() - self._began, float(self._interrupted)
            with _one_line_for_a_lost_worker():
                logs, agreed = step(data, tf.constant(elapsed), tf.constant(interrupted))
                self._agreed, interrupted = agreed.numpy().tolist()
            if interrupted:
                self._interrupted = False
                raise KeyboardInterrupt
            return logs

        return on_iterator

    def _summed(self, on_replica):
        """The tensors that `on_replica()` returns, added up over all replicas."""
        shapes = []

        def packed():
            tensors = on_replica()
            shapes[:] = [tensor.shape for tensor in tensors]
            return tf.concat([tf.reshape(tf.cast(tensor, tensors[0].dtype), [-1]) for tensor in tensors], axis=0)

        # In one piece: ten arrays would be ten meetings of the workers, and it is the meeting that takes the time.
        total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.strategy.run(packed), axis=None)
        pieces = tf.split(total, [shape.num_elements() for shape in shapes])
        return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def check(self, x, verb):
        """Raises if the workers cannot `fit` or `evaluate` alike on `x`."""
        if not self.is_distributed:
            return
        if tf.distribute.has_strategy():
            raise RuntimeError(f"call model.{verb} after the block `with strategy.scope():`; it was called inside.")
        if not isinstance(x, tf.data.Dataset):
            raise ValueError(
                "under a strategy every worker must read the same batches, from a tf.data.Dataset such as "
                f"tfcharlm.text.stream_dataset(...); received {type(x).__name__}."
            )

    def check_compile(self, arguments):
        """Raises if `compile` is given what this loop does not do."""
        for name, default in NOT_UNDER_A_STRATEGY.items():
            value = arguments.get(name, default)
            if self.is_distributed and value and value != default:
                raise ValueError(
                    f"under a strategy compile takes no {name}; received {name}={value!r}. "
                    "Loss, accuracy, perplexity and bits per character are measured without asking."
                )


def _own_rows(data):
    """The rows of every tensor of a batch that are this replica's: k of n has those from k B / n on."""
    k, n = _replica()

    def of_tensor(tensor):
        rows = tensor.shape[0]
        if rows is None:
            rows = tf.shape(tensor)[0]
        elif rows < n:
            raise ValueError(f"a batch must have a row for each of {n} replicas or more; received {rows}.")
        return tensor[rows * k // n : rows * (k + 1) // n]

    return tf.nest.map_structure(of_tensor, data)


def _replica():
    """The number of this replica, and how many there are."""
    context = tf.distribute.get_replica_context()
    return tf.get_static_value(context.replica_id_in_sync_group), context.num_replicas_in_sync


@contextlib.contextmanager
def _one_line_for_a_lost_worker():
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise WorkerLostError(
            "another worker does not answer any more, so this one stops too; its own messages say why. "
            "Start all workers again."
        ) from error

"""Data-parallel training: each replica reads its own rows of a batch, and their results are summed.

A batch is a function of (seed, epoch, step): every worker makes the same batch and takes its rows, so no data is sent.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import tensorflow as tf

Number = TypeVar("Number", int, float)

SUPPORTED = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.OneDeviceStrategy,
)
# Arguments of `compile`, and the values that they must keep.
NOT_UNDER_A_STRATEGY = {"metrics": None, "weighted_metrics": None, "run_eagerly": False, "steps_per_execution": 1}


class WorkerLostError(ConnectionError):
    """Another worker does not answer. A job of several workers cannot continue without one of them."""

    # What TensorFlow raises when a worker is lost.
    CAUSES = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)

    def __init__(self) -> None:
        super().__init__(
            "another worker does not answer any more, so this one stops, too; the messages of the other one say why. "
            "Start all workers again."
        )


class Replicas:
    """The replicas of the strategy in whose scope this object is made; a single one outside of every scope.

    Raises:
        ValueError: the strategy is not a `MirroredStrategy`, `MultiWorkerMirroredStrategy` or `OneDeviceStrategy`.

    Example:

    >>> from tfcharlm.model import Replicas
    >>> Replicas().is_distributed, Replicas().is_chief
    (False, True)
    """

    def __init__(self) -> None:
        self.strategy: Any = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
        if self.is_distributed and not isinstance(self.strategy, SUPPORTED):
            raise ValueError(
                f"the strategy of a model must be a {' or '.join(kind.__name__ for kind in SUPPORTED)}; "
                f"received {type(self.strategy).__name__}."
            )
        self._started: float | None = None
        self._agreed, self._interrupted = 0.0, False
        # Traced once for every type of number.
        self._gathered = tf.function(self._gather, autograph=False)

    @property
    def is_distributed(self) -> bool:
        """Whether there is a strategy, with one replica or several."""
        return self.strategy is not None

    @property
    def count(self) -> int:
        """How many replicas there are."""
        return self.strategy.num_replicas_in_sync if self.is_distributed else 1

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.worker in (None, 0)

    @property
    def worker(self) -> int | None:
        """The number of this process among the workers of a job, 0 for the chief; None if it is the only process."""
        resolver = self.strategy.cluster_resolver if self.is_distributed else None
        if resolver is None or not resolver.task_type:
            return None
        chiefs = len(resolver.cluster_spec().as_dict().get("chief", []))
        return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)

    def all_gather(self, number: Number) -> list[Number]:
        """Collects a number from every worker. It returns when all of them have called it.

        Args:
            number: the number of this worker.

        Returns:
            The numbers of all workers, in the order of the workers.

        Raises:
            WorkerLostError: another worker does not answer.
        """
        if self.worker is None:
            return [number]

        with _one_line_for_a_lost_worker():
            gathered = self._gathered(tf.constant([number]))
            return self.strategy.experimental_local_results(gathered)[0].numpy().tolist()

    def _gather(self, numbers):
        # Every replica of a worker gives its number, so there may be several of each.
        # The copy is on a device, which the argument of a function is not.
        return self.strategy.run(lambda: tf.distribute.get_replica_context().all_gather(tf.identity(numbers), 0))

    def scope(self) -> AbstractContextManager:
        """The strategy's scope, for a `with` statement; a context that does nothing without a strategy."""
        return self.strategy.scope() if self.is_distributed else contextlib.nullcontext()

    def clock(self) -> float:
        """Seconds on a clock that all workers share: the chief's time from the first step to the start of the last one.

        When to stop and how fast to learn depend on the time, and they must be the same in every worker.
        """
        return self._agreed if self.is_distributed else time.monotonic()

    def interrupt(self) -> None:
        """Makes every worker raise KeyboardInterrupt after the next step. A signal handler may call it."""
        self._interrupted = True

    def step_function(
        self,
        on_rows: Callable[[Any], Sequence[tf.Tensor]],
        on_sums: Callable[[Sequence[tf.Tensor]], Mapping[str, tf.Tensor]],
    ) -> Callable[[Iterator], Mapping[str, tf.Tensor]]:
        """Makes the function that Keras calls with an iterator, once for every batch.

        Args:
            on_rows: maps a replica's rows of a batch to a list of tensors.
            on_sums: maps that list, every tensor summed over all replicas, to logs.

        Returns:
            A function from an iterator over batches to logs.
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
            self._started = self._started or time.monotonic()
            elapsed, interrupted = time.monotonic() - self._started, float(self._interrupted)
            with _one_line_for_a_lost_worker():
                logs, agreed = step(data, tf.constant(elapsed), tf.constant(interrupted))
                self._agreed, interrupted = agreed.numpy().tolist()
            if interrupted:
                self._interrupted = False
                raise KeyboardInterrupt
            return logs

        return on_iterator

    def _summed(self, on_replica):
        """The tensors that `on_replica()` returns, summed over all replicas."""
        shapes = []

        def packed():
            tensors = on_replica()
            shapes[:] = [tensor.shape for tensor in tensors]
            return tf.concat([tf.reshape(tf.cast(tensor, tensors[0].dtype), [-1]) for tensor in tensors], axis=0)

        # In one piece: for ten arrays the workers would meet ten times, and meeting is what takes the time.
        total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.strategy.run(packed), axis=None)
        pieces = tf.split(total, [shape.num_elements() for shape in shapes])
        return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def check(self, x: Any, verb: str) -> None:
        """Raises if the workers cannot `fit` or `evaluate` on `x` together; `verb` is the name of the method."""
        if not self.is_distributed:
            return
        if tf.distribute.has_strategy():
            raise RuntimeError(f"call model.{verb} after the block `with strategy.scope():`; it was called inside.")
        if not isinstance(x, tf.data.Dataset):
            raise ValueError(
                "under a strategy, x must be a tf.data.Dataset of the same batches for every worker, such as "
                f"tfcharlm.text.stream_dataset(...); received {type(x).__name__}."
            )

    def check_compile(self, arguments: Mapping[str, Any]) -> None:
        """Raises a ValueError if `compile` is given an argument that is not supported under a strategy."""
        for name, default in NOT_UNDER_A_STRATEGY.items():
            value = arguments.get(name, default)
            if self.is_distributed and value and value != default:
                raise ValueError(
                    f"under a strategy, {name} must be {default}; received {name}={value!r}. "
                    "Loss, accuracy, perplexity and bits per character are always measured."
                )


def _own_rows(data):
    """The rows of every tensor of a batch that are this replica's: replica k of n starts with row k B / n."""
    k, n = _replica()

    def of_tensor(tensor):
        rows = tensor.shape[0]
        if rows is None:
            rows = tf.shape(tensor)[0]
        elif rows < n:
            raise ValueError(f"batch_size must be at least {n}, the number of replicas; received {rows}.")
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
    except WorkerLostError.CAUSES as error:
        raise WorkerLostError from error

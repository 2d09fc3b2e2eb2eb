"""What `Checkpoint` asks of a model, written down once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class RunReplicas(Protocol):
    """The processes that train together."""

    worker: int | None

    def scope(self) -> AbstractContextManager:
        """The scope of their strategy."""

    def clock(self) -> float:
        """Seconds on a clock that all of them share."""

    def all_gather(self, number: int) -> list[int]:
        """The numbers of all workers, in their order."""


class ResumableState(Protocol):
    """Everything that a run consists of: variables in groups, and what must be the same when it continues.

    The groups "weights", "optimizer", "metrics" and whatever else a step reads are saved and restored. `description()`
    is plain data; names that Keras counts, and a learning rate that a schedule moves, are left out of the comparison.
    """

    variables: Mapping[str, Sequence]
    description: Callable[[], Mapping[str, object]]
    replicas: RunReplicas


class ResumableModel(Protocol):
    """A Keras model whose `fit` lets a callback with `run_fit` take over; `CharLM` is one."""

    run_state: ResumableState

    def build_metrics(self, batch: object) -> None:
        """Makes the variables of metrics that Keras would make with the first batch."""

"""What `Checkpoint` needs from a model, written down once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class RunReplicas(Protocol):
    """The processes that train together."""

    @property
    def worker(self) -> int | None:
        """The number of this process; None if it is the only one."""

    def scope(self) -> AbstractContextManager:
        """The scope of their strategy."""

    def clock(self) -> float:
        """Seconds on a clock that all of them share."""

    def all_gather(self, number: int) -> list[int]:
        """Collects a number from every worker, in the order of the workers."""


class ResumableState(Protocol):
    """Everything that a run consists of: variables in groups, and what must be the same when it resumes.

    The groups "weights", "optimizer", "metrics" and whatever else a step reads are saved and restored. `description()`
    is plain data. Names that Keras numbers, and a learning rate that a schedule moves, are not compared.
    """

    @property
    def variables(self) -> Mapping[str, Sequence]:
        """The variables of the run, grouped by purpose."""

    @property
    def description(self) -> Callable[[], Mapping[str, object]]:
        """A function without arguments; it returns what must be the same when the run resumes."""

    @property
    def replicas(self) -> RunReplicas:
        """The processes that train together."""


class ResumableModel(Protocol):
    """A Keras model whose `fit` hands over to a callback that has a method `run_fit`; `CharLM` is one."""

    optimizer: Any
    trainable_variables: Sequence
    stop_training: bool
    history: Any

    @property
    def run_state(self) -> ResumableState:
        """Everything that a run consists of."""

    def build_metrics(self, batch: object) -> None:
        """Makes the variables of metrics that Keras would make with the first batch."""

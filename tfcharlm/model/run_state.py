"""Everything that a training run of a model consists of, for a callback that saves and resumes it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from tfcharlm.model.replicas import Replicas


@dataclasses.dataclass(frozen=True)
class RunState:
    """What `CharLM.run_state` returns.

    Args:
        variables: the variables of a run, grouped by purpose. "weights" includes the counters of Keras's random
            generators; "states" are the recurrent states that rows carry from chunk to chunk; "random" counts the
            dropout masks.
        description: a function without arguments. It returns as plain data what must be the same when the run resumes.
        replicas: which processes take part, and the clock that they share.
    """

    variables: Mapping[str, Sequence]
    description: Callable[[], Mapping[str, object]]
    replicas: Replicas

"""Everything that a training run of a model consists of, for whoever saves it and continues it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from tfcharlm.model.replicas import Replicas


@dataclasses.dataclass(frozen=True)
class RunState:
    """What `CharLM.run_state` gives.

    Args:
        variables: the variables of a run, grouped by purpose. "weights" includes the counters of Keras's random
            generators; "states" are the recurrent states that the rows carry from chunk to chunk; "random" counts the
            dropout masks.
        description: a function without arguments; what must be the same when the run continues, as plain data.
        replicas: which processes take part, and the clock that they share.
    """

    variables: Mapping[str, Sequence]
    description: Callable[[], Mapping[str, object]]
    replicas: Replicas

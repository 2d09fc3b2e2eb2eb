"""A callback that sets the learning rate of a schedule, and stops when the budget is used up."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfcharlm.training.schedule import Budget, learning_rate_at


class AnnealLearningRate(keras.callbacks.Callback):
    """Sets the optimizer's learning rate before every batch, and stops the training when the budget is used up.

    Args:
        peak: the highest learning rate.
        budget: a `Budget`.
        schedule: "cosine" (default), "linear" or "constant", see `learning_rate_at`.
        on_step: called after every batch with the fraction of the budget that is done.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.training import AnnealLearningRate, Budget
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    >>> model.compile()
    >>> data = tfcharlm.text.stream_dataset([0, 1] * 50, batch_size=2, sequence_length=7)
    >>> fractions = []
    >>> anneal = AnnealLearningRate(0.01, Budget(steps=4), on_step=fractions.append)
    >>> history = model.fit(data, verbose=0, callbacks=[anneal])
    >>> fractions
    [0.25, 0.5, 0.75, 1.0]
    """

    def __init__(
        self,
        peak: float,
        budget: Budget,
        schedule: str = "cosine",
        on_step: Callable[[float], object] = lambda fraction_done: None,
    ) -> None:
        super().__init__()
        self.peak, self.budget, self.schedule, self.on_step = peak, budget, schedule, on_step
        self._steps, self._done_at_start = 0, 0.0

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # With a rate of 0 the first step would be wasted.
        done = 1e-4
        if self._steps:
            start = self._done_at_start
            done = max((self.budget.fraction_done(self._steps) - start) / (1 - start), 1e-4)
        self.model.optimizer.learning_rate.assign(learning_rate_at(self.peak, done, self.schedule))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._steps += 1
        done = self.budget.fraction_done(self._steps)
        if self._steps == 1 and self.budget.seconds is not None and done < 1:
            # The first step includes start-up and tracing. The schedule covers the rest of the time.
            self._done_at_start = done
        if done >= 1:
            self.model.stop_training = True
        self.on_step(done)

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs when a run resumes."""
        return {"steps": self._steps, "done_at_start": self._done_at_start, **self.budget.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        self._steps, self._done_at_start = state["steps"], state["done_at_start"]
        self.budget.set_state(state)

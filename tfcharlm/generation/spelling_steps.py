"""The steps of a model that spells: a digit that cannot follow has no probability."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfcharlm.generation.protocol import LanguageModel
from tfcharlm.text import MOST_DIGITS, Spelling

# As good as -infinity, which `tf.debugging.enable_check_numerics()` would take for a mistake.
IMPOSSIBLE = -1e30


class SpellingSteps:
    r"""A `LanguageModel` around another one, whose vocabulary spells characters with digits.

    Of all tokens, only those that can follow have a probability: at the start of a character every token but the digits
    within one, and within a character the digits that lead to a character that is not a token. They are the next ones
    in `Spelling.transitions`. The probabilities of all texts then add up to 1.

    $$ p(w) = \frac{e^{z_w}}{\sum_{v \text{ can follow}} e^{z_v}} $$

    Args:
        model: a `LanguageModel`.
        spelling: the `Spelling` of its vocabulary.

    The states are those of the model, and the state of the spelling, int32 (B, 1).
    """

    def __init__(self, model: LanguageModel, spelling: Spelling) -> None:
        self.vocabulary, self.variables = model.vocabulary, model.variables
        self._model, self._transitions = model, spelling.transitions
        self._first_digit = len(model.vocabulary) - spelling.transitions.shape[1]

    def initial_state(self, batch_size: int | tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The states before a text starts."""
        return *self._model.initial_state(batch_size), tf.zeros((batch_size, 1), tf.int32)

    def step(self, tokens: tf.Tensor, states: Sequence[tf.Tensor], mask: tf.Tensor | None = None) -> tuple:
        """`(logits (B, T, V), states)` after tokens int32 (B, T). States do not change where the mask is False."""
        *states, spelled = states
        logits, states = self._model.step(tokens, states, mask=mask)
        after = self._states_after(tokens, spelled)
        last = after[:, -1:]
        if mask is not None:
            count = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1, keepdims=True)
            last = tf.gather(tf.concat([spelled, after], axis=1), count, batch_dims=1)
        return self._possible(logits, after), (*states, last)

    def stateless_step(self, values: Sequence[Any], tokens: tf.Tensor, states: Sequence[tf.Tensor]) -> tuple:
        """`(logits (B, 1, V), states)` after tokens int32 (B, 1), with the values of `variables` as an argument."""
        *states, spelled = states
        logits, states = self._model.stateless_step(values, tokens, states)
        after = self._after(tokens, spelled)
        return self._possible(logits, after), (*states, after)

    def _states_after(self, tokens, spelled):
        """The states of the spelling after each of the tokens (B, T)."""
        after = tf.zeros_like(tokens)
        # A state depends on the digits since the last one that starts a character.
        for _ in range(MOST_DIGITS):
            after = self._after(tokens, tf.concat([spelled, after[:, :-1]], axis=1))
        return after

    def _after(self, tokens, before):
        digit = tokens - self._first_digit
        flat = before * self._transitions.shape[1] + tf.maximum(digit, 0)
        after = tf.gather(tf.constant(self._transitions.reshape(-1)), flat)
        return tf.where(digit >= 0, tf.maximum(after, 0), 0)

    def _possible(self, logits, states):
        """The logits (B, T, V) of tokens that can follow the states (B, T), and `IMPOSSIBLE` for all others."""
        plain, digits = logits[..., : self._first_digit], logits[..., self._first_digit :]
        can_follow = tf.gather(tf.constant(self._transitions >= 0), states)
        plain = tf.where(states[..., None] == 0, plain, tf.cast(IMPOSSIBLE, plain.dtype))
        return tf.concat([plain, tf.where(can_follow, digits, tf.cast(IMPOSSIBLE, digits.dtype))], axis=-1)

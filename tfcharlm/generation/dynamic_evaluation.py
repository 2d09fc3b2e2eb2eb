"""Dynamic evaluation: a model learns from a text while it reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.checks import Bounds
from tfcharlm.generation.arguments import checked_text
from tfcharlm.generation.gradient_scale import gradient_scale, own_texts, pieces
from tfcharlm.generation.loop import DECODE_BLOCK
from tfcharlm.generation.protocol import AdaptableModel
from tfcharlm.generation.segments import Segments
from tfcharlm.generation.spelling_steps import SpellingSteps

# Chosen once for all texts: docs/dynamic-evaluation.md has the losses with others.
LEARNING_RATE, DECAY, SEGMENT_LENGTH = 0.001, 0.002, 40
# Of the mean scale, added to all: otherwise what hardly ever has a gradient, such as a rare token, would take huge
# steps.
LEAST_SCALE = 0.3
SEGMENTS_AT_ONCE = 250
RATE, FRACTION = Bounds(low=0), Bounds(low=0, high=1)
# Two segments must fit into the texts on which gradients are measured.
LENGTH = Bounds(low=1, high=250, whole=True)


class DynamicEvaluation:
    r"""Reads texts with a copy of a model that learns from every segment once it has predicted it.

    What a text repeats, such as names, then costs less from one time to the next. A prediction never depends on the
    token that it predicts, nor on later ones. After a segment with the loss L, every weight w moves by

    $$ w \leftarrow w - \eta \, \frac{\partial L / \partial w}{v + 0.3 \, \bar v}
       + \min\Big(\lambda \frac{v}{\bar v}, 1\Big) \, (w_0 - w) $$

    The first term is a step against the gradient. The second leads back to the weight w_0 of the model. v is the root
    mean square that the gradient of w usually has, and the mean of v over all weights is written with a bar. It is
    measured on texts that the model writes itself, or on a given text.

    `model.score(texts, adapt=True)` reads every text with a new object of this class. An object of your own keeps what
    it has learned from one text to the next, until `reset`.

    Args:
        model: a `CharLM`; it stays as it is. Layers that are frozen do not learn.
        learning_rate: η; 0.001 by default.
        decay: λ, from 0 to 1; 0.002 by default. With 0, nothing is forgotten.
        segment_length: tokens in a segment; 40 by default. Fewer take more time.
        statistics_text: a text on which to measure v, such as a part of the text that the model was trained on. It
            needs two segments. None (default) takes texts that the model writes itself. On tinyshakespeare they gave
            the same loss up to 0.001 nats per token.

    Attributes:
        model: the copy, a `CharLM` with the weights learned so far. It can do all that a model can.

    Raises:
        ValueError: an argument is out of bounds, all layers of the model are frozen, or `statistics_text` is too short.

    Example:

    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\n"), [tfcharlm.LSTMCell(8)])
    >>> reader = tfcharlm.DynamicEvaluation(model, segment_length=10)
    >>> first, second = (reader.read("ab" * 100).sum() for _ in range(2))
    >>> bool(second > first), reader.model.generate("ab", max_length=2, seed=1)[:2]
    (True, 'ab')

    Reference: Krause et al. (2018), Dynamic evaluation of neural sequence models; Krause et al. (2019), Dynamic
    evaluation of Transformer language models.
    """

    def __init__(
        self,
        model: AdaptableModel,
        learning_rate: float = LEARNING_RATE,
        decay: float = DECAY,
        segment_length: int = SEGMENT_LENGTH,
        statistics_text: str | None = None,
    ) -> None:
        rate, decay = RATE.check("learning_rate", learning_rate), FRACTION.check("decay", decay)
        self.segment_length = LENGTH.check("segment_length", segment_length)
        if not model.trainable_variables:
            raise ValueError(
                "the model must have trainable weights to learn while it reads; received a model whose layers are all "
                "frozen. Type model.trainable = True."
            )
        # The text graph of the given model is compiled already, if it has generated before.
        if statistics_text is None:
            texts = list(own_texts(model._text_graph_in_python()))
        else:
            ids = self._long_enough(model.vocabulary.encode(checked_text("statistics_text", statistics_text)))
            texts = list(pieces(ids, DECODE_BLOCK))
        self.model = model.with_vocabulary(model.vocabulary)
        self.vocabulary = model.vocabulary
        spelling = self.vocabulary.spelling
        self._steps = self.model if spelling is None else SpellingSteps(self.model, spelling)
        self._variables = [variable.value for variable in self.model.trainable_variables]
        self._begin = [tf.identity(variable) for variable in self._variables]
        self._rates, self._decays = (
            [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self._variables] for _ in range(2)
        )
        self._segments = Segments(self._steps, self._variables, self.segment_length)
        self._learn = self._segments.function(self._update)
        scales = gradient_scale(self._mean_squares(texts))
        # Where nothing has a gradient, all gradients are 0, and any scale will do.
        mean = np.concatenate([scale.ravel() for scale in scales]).mean() or 1.0
        for scale, of_rate, of_decay in zip(scales, self._rates, self._decays, strict=True):
            of_rate.assign(rate / (scale + LEAST_SCALE * mean))
            of_decay.assign(np.minimum(decay * scale / mean, 1))
        # The tokens of the segment that is not complete, and how many of their successors are predicted already.
        self._pending, self._known = np.zeros(0, np.int32), 0
        self._states: Sequence[tf.Tensor] = ()
        self._start_text()

    def read(self, text: str, continued: bool = False) -> np.ndarray:
        """Reads a text and learns from it.

        Args:
            text: a string of any length.
            continued: whether it continues the text that was read before; the pieces of a text then give what the whole
                text would give. False (default): it starts a line. Of what was read before, only the weights are kept.

        Returns:
            float64 array (tokens,): the log-probability of every token in nats, given the tokens before it; without the
            first token of a text if the vocabulary has no newline, as for `CharLM.score`.

        Raises:
            ValueError: the text has a token that is not in the vocabulary.

        Example:

        >>> import numpy as np
        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(5)])
        >>> text, reader = "ab" * 50, tfcharlm.DynamicEvaluation(model, segment_length=8)
        >>> whole = reader.read(text)
        >>> reader.reset()
        >>> pieces = [reader.read(text[:33]), reader.read(text[33:], continued=True)]
        >>> bool(np.allclose(np.concatenate(pieces), whole, rtol=1e-4))
        True
        """
        ids = self.vocabulary.encode(checked_text("text", text))
        if not continued:
            self._start_text()
        tokens = np.concatenate([self._pending, ids]).astype(np.int32)
        size, known = self.segment_length, self._known
        count = max(len(tokens) - 1, 0)
        whole = count // size * size
        found = [np.zeros(0)]
        for begin in range(0, whole, SEGMENTS_AT_ONCE * size):
            end = min(begin + SEGMENTS_AT_ONCE * size, whole)
            losses, *self._states = self._learn(tf.constant(tokens[begin : end + 1]), *self._states)
            found.append(-losses.numpy())
            # An interruption between two calls leaves the object after a segment.
            self._pending, self._known = tokens[end : end + 1], 0
        if count > whole:
            losses, *_ = self._segments.losses(tf.constant(tokens[whole:]), *self._states)
            found.append(-losses.numpy())
        self._pending, self._known = tokens[whole:], count - whole
        return np.concatenate(found).astype(np.float64)[known:]

    def reset(self) -> None:
        """Forgets all texts: the copy has the weights of the model again."""
        for variable, value in zip(self._variables, self._begin, strict=True):
            variable.assign(value)
        self._start_text()

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs to continue in the middle of a text, as arrays and lists of arrays."""
        return {
            "weights": [variable.numpy() for variable in self._variables],
            "rates": [variable.numpy() for variable in self._rates],
            "decays": [variable.numpy() for variable in self._decays],
            "states": [np.asarray(state) for state in self._states],
            "tokens": self._pending.copy(),
            "known": self._known,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `get_state` of an object with the same model and segment length returned.

        Args:
            state: what `get_state` returned.

        Raises:
            ValueError: the state does not fit the model.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(5)])
        >>> one, other = (tfcharlm.DynamicEvaluation(model, segment_length=8) for _ in range(2))
        >>> _ = one.read("ab" * 50)
        >>> other.set_state(one.get_state())
        >>> bool((one.read("ba", continued=True) == other.read("ba", continued=True)).all())
        True
        """
        shapes = [tuple(np.shape(array)) for array in state["weights"]]
        expected = [tuple(variable.shape) for variable in self._variables]
        if shapes != expected:
            raise ValueError(f"state must have weights of the shapes {expected}; received {shapes}.")
        for name, variables in {"weights": self._variables, "rates": self._rates, "decays": self._decays}.items():
            for variable, value in zip(variables, state[name], strict=True):
                variable.assign(value)
        self._states = tuple(map(tf.constant, state["states"]))
        self._pending, self._known = np.array(state["tokens"], np.int32), int(state["known"])

    def _start_text(self):
        self._pending, self._known = np.array(self.vocabulary.line_start, np.int32), 0
        self._states = self._steps.initial_state(1)

    def _long_enough(self, ids):
        if len(ids) <= 2 * self.segment_length:
            raise ValueError(
                f"statistics_text must have more than {2 * self.segment_length:,} tokens, two segments; received "
                f"{len(ids):,}."
            )
        return ids

    def _mean_squares(self, texts):
        """The means of the squared gradients of segments of texts, an array for each variable."""
        sums = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self._variables]

        def add(number, gradients):
            # The first segment of a text does not count: its states are still near those of no text.
            squares = (tf.where(number > 0, gradient * gradient, 0) for gradient in gradients)
            return [total.assign_add(square) for total, square in zip(sums, squares, strict=True)]

        gather = self._segments.function(add)
        count = 0
        for text in texts:
            gather(tf.constant(text, tf.int32), *self._steps.initial_state(1))
            count += (len(text) - 1) // self.segment_length - 1
        return [total.numpy() / max(count, 1) for total in sums]

    def _update(self, number, gradients):
        """One step of the weights: against the gradients, and towards the weights of the model."""
        each = zip(self._variables, self._begin, gradients, self._rates, self._decays, strict=True)
        return [
            weight.assign_add(decay * (begin - weight) - rate * gradient)
            for weight, begin, gradient, rate, decay in each
        ]

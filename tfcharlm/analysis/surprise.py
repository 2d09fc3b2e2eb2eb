"""How many bits every piece of a text costs a model, and every line: what the model did not expect."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class LineSurprise:
    """A line of a text, and how many bits it costs a model.

    Args:
        number: the number of the line in the text, from 1.
        text: the line without its newline.
        bits: the bits of its characters and of its newline, added up.
        characters: how many characters were scored, the newline among them.

    Example:

    >>> from tfcharlm.analysis import LineSurprise
    >>> LineSurprise(number=1, text="To be", bits=15.0, characters=6).bits_per_character
    2.5
    """

    number: int
    text: str
    bits: float
    characters: int

    @property
    def bits_per_character(self) -> float:
        """The mean over the characters that were scored; 0 if there are none."""
        return self.bits / max(self.characters, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Surprise:
    r"""How many bits the P pieces of a text cost a model, as `record_surprise` returns them.

    $$ \text{bits}_t = -\log_2 p(x_t \mid x_1 \dots x_{t-1}) $$

    A piece is a token. At level "byte" it is a character, with the bits of its bytes added up.

    Args:
        text: the text.
        bits: float64 (P,).
        ends: int64 (P,), the index in the text where each piece ends.
        tokens: how many tokens were scored.
        given: how many characters at the start were given and not scored; their bits are 0. Default: 0. It is the first
            piece if the vocabulary has no newline.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.analysis import Surprise
    >>> surprise = Surprise("a\nbc", np.array([1.0, 2.0, 3.0, 5.0]), np.array([1, 2, 3, 4]), tokens=4)
    >>> surprise.pieces, [line.bits_per_character for line in surprise.lines]
    (('a', '\n', 'b', 'c'), [1.5, 4.0])
    """

    text: str
    bits: np.ndarray
    ends: np.ndarray
    tokens: int
    given: int = 0

    @functools.cached_property
    def pieces(self) -> tuple[str, ...]:
        """The P pieces. Joined, they are the text."""
        return tuple(self.text[begin:end] for begin, end in itertools.pairwise([0, *self.ends.tolist()]))

    @functools.cached_property
    def lines(self) -> tuple[LineSurprise, ...]:
        """The lines in the order of the text. Their bits add up to those of the text."""
        texts = self.text.split("\n")
        lengths = np.array([len(text) + 1 for text in texts])
        lengths[-1] -= 1
        if not texts[-1]:
            texts, lengths = texts[:-1], lengths[:-1]
        if not texts:
            return ()
        # A newline is a piece of its own, at every level.
        begins = np.searchsorted(self.ends, np.cumsum(lengths) - lengths, side="right")
        sums = np.add.reduceat(self.bits, begins)
        lengths[0] -= self.given
        return tuple(map(LineSurprise, itertools.count(1), texts, sums.tolist(), lengths.tolist()))

    @property
    def scores(self) -> dict[str, float | int]:
        """The numbers that `CharLM.score` returns for the text."""
        bits = float(self.bits.sum())
        return {
            "log_probability": 0 - bits * float(np.log(2)),
            "tokens": self.tokens,
            "bits_per_character": bits / max(len(self.text) - self.given, 1),
            "perplexity": float(np.exp2(bits / max(self.tokens, 1))),
        }


def record_surprise(model: keras.Model, text: str, adapt: Any = False) -> Surprise:
    """Records how many bits every piece of a text costs a model. The text is read once, with its state carried.

    Args:
        model: a `CharLM`.
        text: a string of any length. It is read as the start of a line, as by `score`.
        adapt: whether the model learns from the text while it reads it, True or a `tfcharlm.DynamicEvaluation`, as for
            `score`; False by default.

    Returns:
        A `Surprise`. Its bits add up to what `score` says of the text.

    Raises:
        ValueError: the text has a character that is not in the vocabulary.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import record_surprise
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> surprise = record_surprise(model, "cab\\nabc")
    >>> surprise.bits.shape, [line.text for line in surprise.lines]
    ((7,), ['cab', 'abc'])

    Reference: Shannon (1951), Prediction and entropy of printed English.
    """
    nats = model.token_log_probabilities(text, adapt)
    ids = model.vocabulary.encode(text)
    characters = np.array(model.vocabulary.characters_per_token, np.int64)[ids]
    # A byte that continues a character has none of its own.
    begins = np.flatnonzero(characters)
    given = len(ids) - len(nats)
    bits = np.concatenate([np.zeros(given), 0 - nats / np.log(2)])
    bits = np.add.reduceat(bits, begins) if len(begins) else bits
    return Surprise(text, bits, np.cumsum(characters[begins]), len(nats), int(characters[:given].sum()))


def join_surprises(surprises: Sequence[Surprise]) -> Surprise:
    """The surprise of texts that were read one by one, such as items, as that of their text together.

    Args:
        surprises: at least one `Surprise`, in the order of the texts. What was given and not scored must be at the
            start of the first one.

    Raises:
        ValueError: there is none, or a later one has characters that were given.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.analysis import Surprise, join_surprises
    >>> one, other = (Surprise(text, np.array([1.0, 2.0]), np.array([1, 2]), tokens=2) for text in ("a\\n", "b\\n"))
    >>> [line.bits for line in join_surprises([one, other]).lines]
    [3.0, 3.0]
    """
    if not surprises or any(surprise.given for surprise in surprises[1:]):
        raise ValueError("surprises must be at least one, and all but the first without given characters.")
    begins = np.cumsum([0, *(len(surprise.text) for surprise in surprises)])
    return Surprise(
        "".join(surprise.text for surprise in surprises),
        np.concatenate([surprise.bits for surprise in surprises]),
        np.concatenate([surprise.ends + begin for surprise, begin in zip(surprises, begins, strict=False)]),
        sum(surprise.tokens for surprise in surprises),
        surprises[0].given,
    )


def score_items(
    model: keras.Model, items: Sequence[str], end: str = "\n", adapt: Any = False
) -> tuple[dict[str, float | int], tuple[LineSurprise, ...]]:
    """How probable items are, such as names: each is read on its own, with its end, as in training.

    Args:
        model: a `CharLM` whose vocabulary has a newline.
        items: strings, without their ends.
        end: what ends an item; a newline by default.
        adapt: as for `record_surprise`; False by default. It learns from items that are longer than a segment.

    Returns:
        `(scores, lines)`: the numbers that `CharLM.score` returns, for all items together; and a `LineSurprise` for
        each, with its end among the characters.

    Raises:
        ValueError: an item has a character that is not in the vocabulary.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import score_items
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> scores, lines = score_items(model, ["cab", "b"])
    >>> scores["tokens"], [line.characters for line in lines]
    (6, [4, 2])
    """
    nothing: dict[str, Any] = {"log_probability": np.zeros(0), "tokens": np.zeros(0, int)}
    found = model.score([item + end for item in items], adapt) if items else nothing
    nats, tokens = float(found["log_probability"].sum()), int(found["tokens"].sum())
    bits = 0 - found["log_probability"] / np.log(2)
    lines = tuple(
        LineSurprise(number, item, of_item, len(item) + len(end))
        for number, (item, of_item) in enumerate(zip(items, bits.tolist(), strict=True), 1)
    )
    scores = {
        "log_probability": nats,
        "tokens": tokens,
        "bits_per_character": float(bits.sum()) / max(sum(line.characters for line in lines), 1),
        "perplexity": float(np.exp(-nats / max(tokens, 1))),
    }
    return scores, lines

"""Which known tokens a new token resembles, so that a model can begin from what it knows of them."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence

from tfcharlm.text.vocabulary import Vocabulary

# Marks that a typewriter does not have, and those that it has in their place. Unicode does not decompose them.
_MARKS = {"'": "‘’‚‛‹›", '"': "“”„‟«»", "-": "‐‑‒–—―−", ".": "…·•", "!": "¡", "?": "¿"}
TYPEWRITER = str.maketrans({mark: plain for plain, marks in _MARKS.items() for mark in marks})


def relatives(vocabulary: Vocabulary, known: Vocabulary) -> list[int | None]:
    """For each token of a vocabulary, the token of another one that is most like it.

    It is the first of these that is known:

    - the token itself;
    - the same in lower case, in upper case, or with a capital;
    - the same without an accent or in its usual width, as Unicode decomposes it (NFKD), or the plain form of a
      quotation mark or a dash; in these cases, too;
    - a word without the space before it, or with one.

    Args:
        vocabulary: a `Vocabulary` of V tokens.
        known: a `Vocabulary`.

    Returns:
        V ids of `known`; None where no known token is like the token.

    Example:

    >>> from tfcharlm.text import Vocabulary, relatives
    >>> relatives(Vocabulary(["a", "é", "A", "7"]), known=Vocabulary(["a", "e", "1"]))
    [0, 1, 0, None]
    """
    ids = {token: i for i, token in enumerate(known.tokens)}
    return [next((ids[form] for form in _forms(token) if form in ids), None) for token in vocabulary.tokens]


def _forms(token: str) -> Iterator[str]:
    """Ways to write a token, the closest first."""
    cases: Sequence[Callable[[str], str]] = (str, str.lower, str.upper, str.title)
    for spaced in (token, token.removeprefix(" "), f" {token}"):
        for form in (spaced, _plain(spaced)):
            yield from (case(form) for case in cases)


def _plain(token):
    """A token without accents, in the usual width, with the marks of a typewriter."""
    decomposed = unicodedata.normalize("NFKD", token.translate(TYPEWRITER))
    return "".join(character for character in decomposed if not unicodedata.combining(character))

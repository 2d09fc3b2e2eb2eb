"""Stop strings in a text that arrives in pieces: the text ends before the first of them."""

from collections.abc import Sequence


class StopSearch:
    """Hands out a text up to the first stop string, as soon as it is certain that none begins in it.

    Args:
        stops: strings that end the text, none of them empty; without any, the whole text is handed out.

    Attributes:
        found: whether a stop string has been found. The text has ended then.

    Example:

    >>> from tfcharlm.generation import StopSearch
    >>> search = StopSearch(["c."])
    >>> search.add("abc"), search.add("."), search.found            # "c" might be the start of a stop string
    ('ab', '', True)
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.found = False
        self._stops = stops
        self._held = ""

    def add(self, piece: str, final: bool = False) -> str:
        """The text that has become certain with this piece. If `final` is True, the rest of the text."""
        if self.found:
            return ""
        self._held += piece
        found = min((index for index in map(self._held.find, self._stops) if index >= 0), default=len(self._held))
        certain = len(self._held) - (0 if final else self._possible_stop())
        # A longer stop string may have started before the complete one. If it is completed later, it is the first.
        self.found = found < len(self._held) and found <= certain
        certain = min(found, certain)
        text, self._held = self._held[:certain], self._held[certain:]
        return text

    def _possible_stop(self):
        """The length of the longest end of the text that is the start of a stop string."""
        lengths = (
            n
            for stop in self._stops
            for n in range(1, min(len(stop), len(self._held) + 1))
            if self._held.endswith(stop[:n])
        )
        return max(lengths, default=0)

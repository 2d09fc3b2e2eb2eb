"""The texts that `tfcharlm plot` reads: a part of a corpus, and a model that knows all of its characters."""

from pathlib import Path
from typing import NamedTuple

from tfcharlm.model import CharLM, load_model
from tfcharlm.text import UnknownTokenError, load_texts


class TextPart(NamedTuple):
    """A part of a text: what is read, the index and the line where it begins, and the length of the whole text."""

    text: str
    begin: int
    first_line: int
    total: int

    @property
    def is_cut(self) -> bool:
        """Whether the text goes on after the part."""
        return self.begin + len(self.text) < self.total

    @property
    def described(self) -> str:
        """A sentence that says which part it is; "" for the whole text."""
        if len(self.text) == self.total:
            return ""
        end = self.begin + len(self.text)
        if self.begin:
            return f"Characters {self.begin + 1:,} to {end:,} of {self.total:,}."
        return f"The first {end:,} of {self.total:,} characters."


def read_part(
    corpus: str | None,
    errors: str,
    text: str | None,
    begin: int,
    length: int,
) -> TextPart:
    """The part of a text that options choose.

    Args:
        corpus: what `load_texts` takes; several texts are joined. None if there is a text.
        errors: what to do with its bytes that are not UTF-8: "strict" or "replace".
        text: the text itself; None if there is a corpus.
        begin: how many characters to skip.
        length: how many characters to read at most.

    Raises:
        OSError: the corpus cannot be read.
        ValueError: the text is empty, or ends before `begin`.
    """
    whole = (text or "") if corpus is None else "".join(part for _, part in load_texts(corpus, errors))
    if not whole:
        raise ValueError("--text must have at least one character; received an empty one.")
    if begin >= len(whole):
        raise ValueError(f"--begin must be less than the {len(whole):,} characters of the text; received {begin}.")
    return TextPart(whole[begin : begin + length], begin, 1 + whole.count("\n", 0, begin), len(whole))


def load_reader(directory: Path, text: str) -> tuple[CharLM, str]:
    """`(model, text)`; a ValueError in one line if the model does not know everything in the text."""
    model = load_model(directory)
    try:
        model.vocabulary.encode(text)
    except UnknownTokenError as error:
        raise ValueError(f"{directory}: {error.what}; a model can read only what its corpus contains.") from error
    return model, text

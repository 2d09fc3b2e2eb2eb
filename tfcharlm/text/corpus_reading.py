"""The first pass over a corpus: what is in each text, the vocabulary, and what is held out."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

from tfcharlm.text.counting import TokenCounter
from tfcharlm.text.items import RECORD_SEPARATOR, items_of, joined
from tfcharlm.text.sources import TextSource
from tfcharlm.text.text_file import quoted_path
from tfcharlm.text.vocabulary import Vocabulary

OnProgress = Callable[[str, int, int], object]


@dataclasses.dataclass(frozen=True)
class CorpusOptions:
    """How a corpus is read; the arguments are those of `split_corpus`, and the fingerprint of its `known`."""

    level: str
    lines: bool
    separator: str
    join: bool
    validation_fraction: float
    errors: str
    known: str | None


@dataclasses.dataclass(frozen=True)
class CountedText:
    """A text, its number of characters and the SHA-256 of its UTF-8."""

    source: TextSource
    characters: int
    sha256: str

    @property
    def record(self) -> dict[str, object]:
        """What a manifest keeps of it."""
        record = {"name": self.source.name, "size": self.source.size, "mtime_ns": self.source.mtime_ns}
        return {**record, "characters": self.characters, "sha256": self.sha256}


@dataclasses.dataclass(frozen=True)
class CountedCorpus:
    """What the first pass has found."""

    texts: list[CountedText]
    vocabulary: Vocabulary
    num_items: int
    num_empty: int
    num_left_out: int

    @property
    def sha256(self) -> str:
        """The SHA-256 of the texts; of one text that of its UTF-8."""
        if len(self.texts) == 1:
            return self.texts[0].sha256
        return hashlib.sha256("\n".join(text.sha256 for text in self.texts).encode()).hexdigest()


def text_sha256(source: TextSource, errors: str) -> str:
    """The SHA-256 of the UTF-8 of a text."""
    digest = hashlib.sha256()
    for part in source.parts(errors):
        digest.update(part.encode())
    return digest.hexdigest()


def count_corpus(
    sources: Sequence[TextSource], options: CorpusOptions, known: Vocabulary | None, on_progress: OnProgress
) -> CountedCorpus:
    """Reads every text once.

    Args:
        sources: the texts.
        options: how they are read.
        known: a vocabulary whose tokens come first; None for none.
        on_progress: as in `split_corpus`.

    Raises:
        OSError: a text cannot be read.
        ValueError: a text is not UTF-8, or all texts are empty.
    """
    counter = TokenCounter(options.level)
    texts: list[CountedText] = []
    num_items = num_empty = num_left_out = 0
    total, done = sum(source.size for source in sources), 0
    for source in sources:
        digest, characters, is_blank = hashlib.sha256(), 0, True

        def parts(source=source, digest=digest, done=done):
            nonlocal characters, is_blank
            for part in source.parts(options.errors, lambda offset: on_progress("counting", done + offset, total)):
                characters += len(part)
                is_blank = is_blank and part.isspace()
                digest.update(part.encode())
                yield part

        if options.lines:
            for items, empty in items_of(parts(), options.separator):
                num_items, num_empty = num_items + len(items), num_empty + empty
                if options.level == "word" and options.separator != "\n":
                    for item in items:
                        counter.add(item)
                    counter.add_token("\n", len(items))
                    counter.add_token(RECORD_SEPARATOR, len(items))
                else:
                    counter.add(joined(items, options.separator))
        else:
            for part in parts():
                counter.add(part)
        done += source.size
        if not is_blank:
            texts.append(CountedText(source, characters, digest.hexdigest()))
        elif source.is_listed:
            what = "nothing but white space" if characters else "it is empty"
            raise ValueError(f"{source.quoted} has no text: {what}")
        else:
            num_left_out += 1
    if not texts:
        raise ValueError(f"{quoted_path(sources[0].name)} has no text; give a directory or a pattern that has some.")
    vocabulary = Vocabulary(counter.tokens(), options.level)
    if known is not None:
        vocabulary = known.joined(vocabulary)
    return CountedCorpus(texts, vocabulary, num_items, num_empty, num_left_out)


def held_out_texts(texts: Sequence[CountedText], fraction: float) -> set[int] | None:
    """The texts that are held out as a whole, or None if the end of each text is held out.

    If no text is longer than the fraction, the texts with the smallest SHA-256 are held out, as many as it takes. So
    the choice depends on nothing but the content, and equal texts are on one side.
    """
    wanted = fraction * sum(text.characters for text in texts)
    if max(text.characters for text in texts) > wanted:
        return None
    chosen: set[int] = set()
    sum_of_chosen, last = 0, ""
    for sha256, index in sorted((text.sha256, index) for index, text in enumerate(texts)):
        if sum_of_chosen >= wanted and sha256 != last:
            break
        chosen.add(index)
        sum_of_chosen, last = sum_of_chosen + texts[index].characters, sha256
    return chosen if len(chosen) < len(texts) else None

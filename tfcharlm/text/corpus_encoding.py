"""The second pass over a corpus: texts become ids, and every token goes to one of two parts."""

import hashlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from tfcharlm.text.corpus_reading import CorpusOptions, CountedCorpus, OnProgress, held_out_texts
from tfcharlm.text.items import encoded, item_end, items_of
from tfcharlm.text.parts import digest_of
from tfcharlm.text.split import tail_start
from tfcharlm.text.text_file import quoted_path

PARTS = ("train", "validation")
# Up to so many items, it may happen that no hash is below the fraction. Above, it is as good as impossible.
FEW = 10_000


class CorpusEncoder:
    """Writes the ids of a corpus and where its pieces are, and makes the record that describes them.

    Args:
        corpus: what the first pass has found.
        options: how the corpus is read.
        open_file: a function from a name, such as "ids" or "train.begins", to the file to write.
    """

    def __init__(self, corpus: CountedCorpus, options: CorpusOptions, open_file: Callable[[str], BinaryIO]) -> None:
        self.corpus, self.options, self.open_file = corpus, options, open_file
        self.vocabulary = corpus.vocabulary
        self.dtype = np.min_scalar_type(len(self.vocabulary) - 1).newbyteorder("<")
        self.length, self.digest = 0, hashlib.sha256()
        self.counts = {name: np.zeros(len(self.vocabulary), np.int64) for name in PARTS}

    def encode(self, on_progress: OnProgress) -> dict[str, Any]:
        """Reads every text again; returns the record, which is plain data.

        Raises:
            OSError: a text cannot be read or has changed since the first pass, or the ids cannot be written.
            ValueError: there is too little text to hold out some of it.
        """
        self.ids = self.open_file("ids")
        self.on_progress = on_progress
        if self.options.lines:
            kind, told = "lines", self._lines()
        elif len(self.corpus.texts) == 1 or self.options.join:
            kind, told = "stream", self._stream()
        else:
            kind, told = "documents", self._documents()
        characters = sum(text.characters for text in self.corpus.texts)
        return {
            "kind": kind,
            "dtype": self.dtype.str,
            "vocabulary": self.vocabulary.get_config(),
            "sha256": self.corpus.sha256,
            "item_end": item_end(self.options.separator) if kind == "lines" else None,
            "tokens": self.length,
            "counts": {name: counts.tolist() for name, counts in self.counts.items()},
            "description": f"{characters:,} characters, {len(self.vocabulary)} different tokens; {told.pop('text')}",
            **told,
        }

    def _stream(self):
        for parts in self._texts():
            for part in parts:
                self.counts["train"] += self._write(self.vocabulary.encode(part))
        cut = max(0, tail_start(self.length, self.options.validation_fraction))
        digests = {name: digest_of(self.digest.digest(), f"{name} {cut}".encode()) for name in PARTS}
        return {
            "cut": cut,
            "digests": digests,
            "text": f"trains on {cut:,} tokens, holds out the last {self.length - cut:,}.",
        }

    def _documents(self):
        fraction, texts = self.options.validation_fraction, self.corpus.texts
        whole = held_out_texts(texts, fraction)
        pieces: dict[str, list] = {name: [] for name in PARTS}
        for index, parts in enumerate(self._texts()):
            begin, counts = self.length, np.zeros(len(self.vocabulary), np.int64)
            for part in parts:
                counts += self._write(self.vocabulary.encode(part))
            length, key = self.length - begin, texts[index].sha256
            if length < 2:
                continue  # nothing to predict
            if whole is not None:
                name = "validation" if index in whole else "train"
                pieces[name].append((key, begin, length))
                self.counts[name] += counts
                continue
            self.counts["train"] += counts
            cut = int(length * (1 - fraction))
            if length - cut >= 2 and cut >= 2:
                pieces["train"].append((key, begin, cut))
                pieces["validation"].append((key, begin + cut, length - cut))
            else:
                pieces["train"].append((key, begin, length))
        if not pieces["validation"] or not pieces["train"]:
            raise ValueError(
                f"the texts are too short to hold out {fraction:g} of each; give more text, or type join=True to read "
                "them as one."
            )
        # An evaluation reads the first ones, which must not be those of one directory.
        pieces["validation"].sort()
        for name in PARTS:
            self.open_file(f"{name}.begins").write(np.array([begin for _, begin, _ in pieces[name]], "<i8").tobytes())
            self.open_file(f"{name}.lengths").write(np.array([size for *_, size in pieces[name]], "<i8").tobytes())
        digests = {name: digest_of(self.digest.digest(), f"{name} {pieces[name]}".encode()) for name in PARTS}
        tokens = {name: sum(size for *_, size in pieces[name]) for name in PARTS}
        how = f"the last {fraction:.3g} of each text"
        if whole is not None:
            how = f"{len(whole):,} whole {'text' if len(whole) == 1 else 'texts'}"
        return {
            "digests": digests,
            "ends_are_held_out": whole is None,
            "text": f"trains on {tokens['train']:,} tokens of {len(pieces['train']):,} texts, "
            f"holds out {how} ({tokens['validation']:,} tokens).",
        }

    def _lines(self):
        limit = self._limit()
        separator = self.options.separator
        files = {f"{name}.{what}": self.open_file(f"{name}.{what}") for name in PARTS for what in ("begins", "lengths")}
        numbers = dict.fromkeys(PARTS, 0)
        # The token that an item is read from is the end of the item before it, or the item's own newline.
        own = separator != "\n"
        if not own:
            self._write(self.vocabulary.encode("\n"))
        newline = int(self.vocabulary.encode("\n")[0]) if own else 0
        for parts in self._texts():
            for items, _ in items_of(parts, separator):
                if not items:
                    continue
                ids, sizes = encoded(items, separator, self.vocabulary)
                held = _hashes(items) < limit
                begins = self.length + np.cumsum(sizes) - sizes - (not own)
                for name, chosen in (("validation", held), ("train", ~held)):
                    files[f"{name}.begins"].write(begins[chosen].astype("<i8").tobytes())
                    files[f"{name}.lengths"].write((sizes[chosen] - own).astype("<u4").tobytes())
                    numbers[name] += int(chosen.sum())
                    counts = np.bincount(ids[np.repeat(chosen, sizes)], minlength=len(self.vocabulary))
                    counts[newline] -= own * int(chosen.sum())
                    self.counts[name] += counts
                self._write(ids)
        for name, what in zip(PARTS, ("left to train on", "held out"), strict=True):
            if not numbers[name]:
                raise ValueError(
                    f"none of the {sum(numbers.values()):,} items is {what} with validation_fraction="
                    f"{self.options.validation_fraction:g}; give another fraction, or more different items."
                )
        empty = f"drops {self.corpus.num_empty:,} empty items, " if self.corpus.num_empty else ""
        return {
            "digests": {name: digest_of(self.digest.digest(), f"{name} {limit}".encode()) for name in PARTS},
            "text": f"{empty}trains on {self.counts['train'].sum():,} tokens of {numbers['train']:,} items, "
            f"holds out {numbers['validation']:,} items, chosen by their SHA-256 "
            f"({self.counts['validation'].sum():,} tokens).",
        }

    def _limit(self):
        """The items whose hashes are less than this are held out: at least one, and not all, if there are two."""
        limit = np.uint64(int(self.options.validation_fraction * 2**64))
        if self.corpus.num_items > FEW:
            return limit
        sources = (text.source.parts(self.options.errors) for text in self.corpus.texts)
        hashes = [_hashes(items) for parts in sources for items, _ in items_of(parts, self.options.separator) if items]
        different = np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))
        return limit if len(different) < 2 else np.clip(limit, different[0] + np.uint64(1), different[-1])

    def _texts(self):
        """Yields the parts of every text, and checks that they are those of the first pass."""
        sources = [text.source for text in self.corpus.texts]
        total, done = sum(source.size for source in sources), 0
        for text in self.corpus.texts:
            digest = hashlib.sha256()

            def parts(text=text, digest=digest, done=done):
                report = self.on_progress
                for part in text.source.parts(self.options.errors, lambda n: report("encoding", done + n, total)):
                    digest.update(part.encode())
                    yield part
                if digest.hexdigest() != text.sha256:
                    name = quoted_path(text.source.name)
                    raise OSError(f"{name} has changed while it was read; type the same again when it is complete")

            yield parts()
            done += text.source.size

    def _write(self, ids):
        """Writes ids; returns how often each token occurs among them."""
        raw = ids.astype(self.dtype).tobytes()
        self.ids.write(raw)
        self.digest.update(raw)
        self.length += len(ids)
        return np.bincount(ids, minlength=len(self.vocabulary))


def _hashes(items):
    """A number for each item, from its SHA-256; uint64."""
    numbers = b"".join(hashlib.sha256(item.encode()).digest()[:8] for item in items)
    return np.frombuffer(numbers, ">u8").astype(np.uint64)

"""From what a person has to a split corpus: one file or many, of any size."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfcharlm.checks import Bounds
from tfcharlm.text.checks import check_level
from tfcharlm.text.corpus_encoding import CorpusEncoder
from tfcharlm.text.corpus_files import (
    DiskFiles,
    MemoryFiles,
    read_manifest,
    split_from,
    with_exact_counts,
    write_manifest,
)
from tfcharlm.text.corpus_reading import CorpusOptions, OnProgress, count_corpus, text_sha256
from tfcharlm.text.sources import STANDARD_INPUT, TextSource, check_reading, find_sources, standard_input_file
from tfcharlm.text.split import TextSplit
from tfcharlm.text.text_file import quoted_path
from tfcharlm.text.vocabulary import Vocabulary


def split_corpus(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    level: str = "char",
    lines: bool = False,
    separator: str = "\n",
    join: bool = False,
    validation_fraction: float = 0.1,
    errors: str = "strict",
    known: Vocabulary | None = None,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_progress: OnProgress = lambda phase, done, total: None,
) -> TextSplit:
    r"""Reads texts, in parts, and splits them into a part to train on and a part that is held out.

    What is held out depends on what there is. Of one text, the last tenth. Of several texts, which are documents: whole
    documents, chosen by the SHA-256 of their content, if none is longer than a tenth of all; else the last tenth of
    each. Of lines: a tenth of the items, chosen by the SHA-256 of the item, so that equal items are in one part.

    Args:
        sources: what to read, one or several of: the name of a corpus (see `load_corpus`); the path of a file in UTF-8,
            which may be compressed by gzip, bzip2 or xz; a directory, for all text files below it except hidden ones;
            a pattern such as ``texts/**/*.md``; "-" for standard input.
        level: "char" (default), "byte" or "word"; see `Vocabulary`.
        lines: whether every line is an item of its own, such as a name. False by default.
        separator: what is between two items; a newline by default. With another one, such as "\n\n", an item may have
            newlines, and U+001E ends it in the ids. Newlines at both ends of such an item are dropped. Empty items are
            dropped.
        join: whether several texts are one long text, without a reset of the state between them. False by default.
        validation_fraction: the fraction that is held out; 0.1 by default.
        errors: what to do with bytes that are not UTF-8: "strict" (default) or "replace", as in `read_chunks`.
        known: the vocabulary of a model to begin from, whose tokens come before those of the texts; it must have the
            same level. None (default) for the tokens of the texts alone.
        directory: where to write the ids, which are then read in place; they are used again if nothing has changed.
            None (default) keeps them in memory.
        resume: whether the sources must be those of the ids in the directory. Standard input is then not read. False
            by default.
        on_progress: called with "counting" or "encoding", the bytes that are read, and the bytes of all files.

    Returns:
        A `TextSplit`. A file that has the size and the time of its last change that it had is taken to be unchanged.

    Raises:
        ImportError: the package that has a corpus is not installed.
        OSError: a source does not exist, cannot be read, or changes while it is read.
        ValueError: a source is empty or not UTF-8, or, with `resume`, has changed; there is too little text; or an
            argument is out of range.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.text import split_corpus
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("to be or not to be")
    >>> _ = (folder / "b.txt").write_text("that is the question")
    >>> split = split_corpus(folder)
    >>> split.kind, split.train.num_pieces, split.train.num_tokens, split.validation.num_tokens
    ('documents', 2, 34, 4)
    """
    check_level(level)
    Bounds(above=0, below=1).check("validation_fraction", validation_fraction)
    check_reading(lines, separator, join)
    separator = separator.replace("\r\n", "\n").replace("\r", "\n")
    if known is not None and known.level != level:
        raise ValueError(f"known must have the level {level!r}; received level {known.level!r}.")
    fingerprint = None if known is None else known.fingerprint
    options = CorpusOptions(level, lines, separator, join, validation_fraction, errors, fingerprint)
    names = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    if directory is None:
        with contextlib.ExitStack() as stack:
            found, skipped = find_sources(names, lambda: stack.enter_context(standard_input_file()))
            return _made(found, skipped, options, known, MemoryFiles(), on_progress)[0]
    directory = Path(directory)
    manifest = read_manifest(directory)
    with contextlib.ExitStack() as stack:
        trusted = resume and manifest is not None
        spool = None if trusted else lambda: stack.enter_context(standard_input_file(directory))
        found, skipped = find_sources(names, spool)
        if manifest is not None:
            changed = _changed(manifest, found, options, resume)
            if not changed:
                _note_times(directory, manifest, found)
                notes = _notes(skipped, manifest["left_out"])
                return split_from(DiskFiles(directory), manifest["record"], notes)
            if resume:
                raise ValueError(f"the corpus is not that of the run to resume: {changed[0]}.")
        with DiskFiles.writing(directory) as files:
            split, manifest = _made(found, skipped, options, known, files, on_progress)
            files.write_manifest(manifest)
        return split


def _made(found, skipped, options, known, files, on_progress) -> tuple[TextSplit, dict[str, Any]]:
    corpus = count_corpus(found, options, known, on_progress)
    record = CorpusEncoder(corpus, options, files.open).encode(on_progress)
    if isinstance(files, DiskFiles):
        files.rename()
    record = with_exact_counts(files, record)
    manifest = {
        "options": dataclasses.asdict(options),
        "sources": [text.record for text in corpus.texts],
        "left_out": corpus.num_left_out,
        "record": record,
    }
    return split_from(files, record, _notes(skipped, corpus.num_left_out)), manifest


def _changed(manifest, found: list[TextSource], options: CorpusOptions, resume: bool) -> list[str]:
    """What differs from what the ids were made of, in words."""
    before = {record["name"]: record for record in manifest["sources"]}
    now, restore = dataclasses.asdict(options), "Restore it, or start a new run"
    if manifest["options"] != now:
        names = [name for name, was in manifest["options"].items() if was != now.get(name)]
        if names == ["known"]:
            return ["it began from another model, or from none. Begin from the same one, or start a new run"]
        told = [f"{name}={manifest['options'][name]!r} is now {now.get(name)!r}. {restore}" for name in names]
        return [*told, f"its options have changed. {restore}"]
    # Empty files have been left out.
    kept = [source for source in found if source.name in before or source.is_listed or source.size]
    missing = sorted(before.keys() - {source.name for source in kept})
    if missing:
        return [f"{quoted_path(missing[0])} is missing. {restore}"]
    changed = []
    for source in kept:
        was = before.get(source.name)
        if was is None:
            if source.is_listed or not _is_blank(source, options):
                changed.append(f"{quoted_path(source.name)} is new. {restore}")
        elif source.name == STANDARD_INPUT and resume:
            continue
        # Only a file says when it was changed.
        elif not source.mtime_ns or (source.size, source.mtime_ns) != (was["size"], was["mtime_ns"]):
            sha256 = text_sha256(source, options.errors)
            if sha256 != was["sha256"]:
                changed.append(
                    f"{quoted_path(source.name)} was {was['size']:,} bytes (SHA-256 {was['sha256'][:12]}) and is "
                    f"{source.size:,} bytes (SHA-256 {sha256[:12]}). {restore}"
                )
    if not changed and [source.name for source in kept if source.name in before] != list(before):
        return [f"its texts are in another order. {restore}"]
    return changed


def _note_times(directory, manifest, found):
    """Notes new times of the last change of files with the same content, so that their sums are not computed again."""
    now = {source.name: {"size": source.size, "mtime_ns": source.mtime_ns} for source in found if source.mtime_ns}
    records = [record | now.get(record["name"], {}) for record in manifest["sources"]]
    if records != manifest["sources"]:
        with contextlib.suppress(OSError):  # a directory that is read-only is good enough to read the ids
            write_manifest(directory, manifest | {"sources": records})


def _is_blank(source, options):
    return all(part.isspace() for part in source.parts(options.errors))


def _notes(skipped, left_out):
    notes = []
    if skipped:
        more = f" and {len(skipped) - 3:,} more" if len(skipped) > 3 else ""
        notes.append(f"Left out, because they are not text: {', '.join(map(quoted_path, skipped[:3]))}{more}.")
    if left_out:
        notes.append(f"Left out: {left_out:,} {'file' if left_out == 1 else 'files'} without text.")
    return tuple(notes)

"""From what a person types to the texts that are meant: corpora, files, directories, patterns, standard input."""

import contextlib
import dataclasses
import errno
import glob
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfcharlm.text.corpora import CORPORA, check_corpus_is_installed, load_corpus
from tfcharlm.text.encodings import bom_encoding, signature, wide_encoding
from tfcharlm.text.files import CHUNK, read_chunks
from tfcharlm.text.searching import matches, walk
from tfcharlm.text.text_file import TextFile, quoted_path

STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class TextSource:
    """One text of a corpus.

    Args:
        name: what it is called in messages and records: the path, the name of the corpus, or "-".
        path: the file to read; None for a corpus that has a name.
        is_listed: whether the user has typed its name. A file that was found in a directory may be left out.
        size: the number of bytes of the file; 0 without one.
        mtime_ns: when the file was changed; 0 without one.
        identity: the device and the number of the file, by which it is known under other names; None without one.
    """

    name: str
    path: str | None
    is_listed: bool
    size: int = 0
    mtime_ns: int = 0
    identity: tuple[int, int] | None = dataclasses.field(default=None, compare=False)

    @classmethod
    def of_file(cls, path: str, is_listed: bool, status: os.stat_result) -> "TextSource":
        """A regular file."""
        return cls(path, path, is_listed, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))

    @property
    def quoted(self) -> str:
        """What it is called in a sentence."""
        return "standard input" if self.name == STANDARD_INPUT else quoted_path(self.name)

    def parts(self, errors: str, on_read: Callable[[int], object] = lambda offset: None) -> Iterator[str]:
        """The text, part by part. `on_read` is called with the number of bytes of the file that are read."""
        if self.path is None:
            text = load_corpus(self.name, errors)
            for begin in range(0, len(text), CHUNK):
                yield text[begin : begin + CHUNK]
            return
        try:
            yield from read_chunks(self.path, errors, decompress=True, on_read=on_read)
        except (OSError, ValueError) as error:
            if self.name != STANDARD_INPUT:
                raise
            # A message begins with what is wrong. A command in it reads the same input again, from a file of its own.
            path = quoted_path(self.path)
            raise type(error)(str(error).replace(path, "standard input", 1).replace(path, "FILE")) from None


def find_sources(
    names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], spool: Callable[[], Path] | None = None
) -> tuple[list[TextSource], list[str]]:
    """The texts that are meant by names of corpora, paths of files and directories, patterns, and "-".

    A directory or `**` of a pattern does not lead into hidden directories, into links to directories, or into models
    that were exported and the files of their runs.

    Args:
        names: what the user has typed.
        spool: a function that copies standard input to a file and returns its path; None if it is not to be read.

    Returns:
        `(sources, skipped)`: the texts, each once; and what is not text, files and directories of models.

    Raises:
        OSError: there is nothing of that name.
        ValueError: there is nothing to read in a directory, or nothing is given.
    """
    if isinstance(names, str | os.PathLike):
        names = [names]
    if not names:
        raise ValueError("sources must be at least one file, directory or corpus; received none.")
    found: dict[Any, TextSource] = {}
    skipped: list[str] = []
    for name in names:
        if not isinstance(name, str | os.PathLike) or not os.fspath(name):
            load_corpus(name)  # raises the error that says what is expected
        for source in _sources_of(name, spool, skipped):
            found.setdefault(source.identity or source.name, source)
    if not found:
        raise ValueError(f"{quoted_path(names[0])} has no text files; give a directory or a pattern that has some.")
    return list(found.values()), skipped


def check_reading(lines: bool, separator: str, join: bool) -> None:
    """A ValueError if these arguments of `split_corpus` do not go together."""
    if not isinstance(separator, str) or not separator:
        raise ValueError(f"separator must be a str of one character or more; received {separator!r}.")
    if separator != "\n" and not lines:
        raise ValueError(f"separator={separator!r} needs lines=True, too, because it is what is between two items.")
    if lines and join:
        raise ValueError("lines=True and join=True contradict each other: items are never joined; leave out one.")


def check_source(name: str) -> None:
    """Raises the error of `find_sources` if there is nothing of this name; it opens no file, and searches no directory.

    Args:
        name: what the user has typed.
    """
    if name == STANDARD_INPUT or os.path.isdir(name):  # noqa: PTH112, see below
        return
    if name in CORPORA:
        check_corpus_is_installed(name)
    elif os.path.lexists(name) or not glob.has_magic(name):
        _sources_of(name, None, [])
    else:
        matches(name, [])


def _sources_of(name, spool, skipped):
    text = os.fspath(name)
    if isinstance(name, str) and name in CORPORA:
        return [TextSource(name, None, True)]
    if text == STANDARD_INPUT:
        path = None if spool is None else str(spool())
        return [TextSource(text, path, True, 0 if path is None else Path(path).stat().st_size)]
    if os.path.isdir(text):  # noqa: PTH112, `Path.is_dir` raises for a name that is too long
        return _texts_in(walk(text, skipped), skipped)
    if not os.path.lexists(text) and glob.has_magic(text):
        return _texts_in(matches(text, skipped), skipped)
    try:
        status = Path(text).stat()
    except (OSError, ValueError):
        load_corpus(name)  # raises the error that says what is missing
        raise
    return [TextSource.of_file(text, True, status)]


def _texts_in(paths, skipped):
    sources = []
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                continue  # a link to nothing, or to itself
            raise
        if not stat.S_ISREG(status.st_mode):
            continue
        if _is_binary(path):
            skipped.append(path)
        else:
            sources.append(TextSource.of_file(path, False, status))
    return sources


def _is_binary(path):
    with TextFile(path, decompress=True) as file:
        begin = file.begin
    if bom_encoding(begin) or wide_encoding(begin):
        return False  # a text, which is refused with what to type
    return b"\0" in begin or signature(begin) is not None


@contextlib.contextmanager
def standard_input_file(directory: Path | None = None) -> Iterator[Path]:
    """A block with a file that has what came from standard input.

    Args:
        directory: the file is on its disk, which has room for it; None (default) for that of temporary files.

    Raises:
        OSError: standard input is a terminal, or the disk is full.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise OSError("standard input is a terminal; type the path of a file, or send a text with |")
    existing = next((path for path in (directory, *directory.parents) if path.is_dir()), None) if directory else None
    # A hidden name, so that no directory of texts has it.
    with tempfile.TemporaryDirectory(prefix=".tfcharlm-", dir=existing) as folder:
        path = Path(folder, "standard-input")
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)
        except OSError as error:
            raise OSError(f"standard input cannot be copied to {quoted_path(path)}: {error.strerror}") from error
        yield path

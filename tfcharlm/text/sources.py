"""From what a person types to the texts that are meant: corpora, files, directories, patterns, standard input."""

import dataclasses
import glob
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tfcharlm.text.corpora import CORPORA, load_corpus
from tfcharlm.text.encodings import bom_encoding, signature, wide_encoding
from tfcharlm.text.files import CHUNK, read_chunks
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
    """

    name: str
    path: str | None
    is_listed: bool
    size: int = 0
    mtime_ns: int = 0

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
    names: Sequence[str | os.PathLike[str]], spool: Callable[[], Path] | None = None
) -> tuple[list[TextSource], list[str]]:
    """The texts that are meant by names of corpora, paths of files and directories, patterns, and "-".

    Args:
        names: what the user has typed.
        spool: a function that copies standard input to a file and returns its path; None if it is not to be read.

    Returns:
        `(sources, skipped)`: the texts, each once; and the names of files in directories that are not text.

    Raises:
        OSError: there is nothing of that name.
        ValueError: there is nothing to read in a directory, or nothing is given.
    """
    if isinstance(names, str | os.PathLike):
        names = [names]
    if not names:
        raise ValueError("sources must be at least one file, directory or corpus; received none.")
    found: dict[str, TextSource] = {}
    skipped: list[str] = []
    for name in names:
        if not isinstance(name, str | os.PathLike) or not os.fspath(name):
            load_corpus(name)  # raises the error that says what is expected
        for source in _sources_of(name, spool, skipped):
            found.setdefault(source.name, source)
    if not found:
        raise ValueError(f"{quoted_path(names[0])} has no text files; give a directory or a pattern that has some.")
    return list(found.values()), skipped


def _sources_of(name, spool, skipped):
    text = os.fspath(name)
    if isinstance(name, str) and name in CORPORA:
        return [TextSource(name, None, True)]
    if text == STANDARD_INPUT:
        path = None if spool is None else str(spool())
        return [TextSource(text, path, True, 0 if path is None else Path(path).stat().st_size)]
    if os.path.isdir(text):  # noqa: PTH112, `Path.is_dir` raises for a name that is too long
        return _texts_in(_walk(text), skipped)
    if not os.path.lexists(text) and glob.has_magic(text):
        # Not `Path.glob`, which does not take absolute patterns.
        found = glob.iglob(text, recursive=True)  # noqa: PTH207
        paths = sorted(path for path in found if Path(path).is_file())
        if not paths:
            raise FileNotFoundError(f"no file matches {quoted_path(text)}")
        return _texts_in(paths, skipped)
    try:
        status = Path(text).stat()
    except (OSError, ValueError):
        load_corpus(name)  # raises the error that says what is missing
        raise
    return [TextSource(text, text, True, status.st_size, status.st_mtime_ns)]


def _walk(directory):
    """The paths of all regular files below a directory, sorted; without hidden ones."""
    paths = []
    for folder, folders, files in os.walk(directory, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [str(Path(folder, name)) for name in files if not name.startswith(".")]
    return sorted(paths)


def _raise(error):
    raise OSError(f"{quoted_path(error.filename)} cannot be read: {error.strerror}") from error


def _texts_in(paths, skipped):
    sources = []
    for path in paths:
        try:
            status = Path(path).stat()
        except FileNotFoundError:
            continue  # a link to nothing
        if not stat.S_ISREG(status.st_mode):
            continue
        if _is_binary(path):
            skipped.append(path)
        else:
            sources.append(TextSource(path, path, False, status.st_size, status.st_mtime_ns))
    return sources


def _is_binary(path):
    with TextFile(path, decompress=True) as file:
        begin = file.begin
    if bom_encoding(begin) or wide_encoding(begin):
        return False  # a text, which is refused with what to type
    return b"\0" in begin or signature(begin) is not None


def copy_standard_input(path: Path) -> None:
    """Writes standard input to a file, part by part."""
    if sys.stdin is None or sys.stdin.isatty():
        raise OSError("standard input is a terminal; type the path of a file, or send a text with |")
    with path.open("wb") as file:
        while raw := sys.stdin.buffer.read(CHUNK):
            file.write(raw)

"""A text file that is read once from start to end, and must not change in the meantime."""

import codecs
import io
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tfcharlm.text.compressed import DAMAGE, LONGEST, compression, decompressed


class TextFile:
    """A regular file, open for reading; `with` closes it.

    Args:
        name: its path.
        decompress: whether to read what is in it if it is compressed by gzip, bzip2 or xz. False by default.

    Raises:
        OSError: there is no such file, it is not a regular file, or it is compressed and damaged.
        ValueError: `name` is not a path.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.text.text_file import TextFile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "text.txt")
    >>> _ = path.write_bytes(b"to be")
    >>> with TextFile(path) as text:
    ...     text.begin, text.read(2), text.read(9)
    (b'to be', b'to', b' be')
    """

    def __init__(self, name: str | os.PathLike[str], decompress: bool = False) -> None:
        self.name = name
        self._file = self._raw = _open(name)
        self._version = self._status()
        # Enough to recognize the encoding. `read` still returns these bytes.
        self.begin: bytes = self._file.peek()
        self.compressed_by = compression(self.begin[:LONGEST]) if decompress else None
        if self.compressed_by is not None:
            self._file = decompressed(self._raw, self.compressed_by)
            try:
                self.begin = self._file.peek()
            except (OSError, *DAMAGE) as error:
                self._raw.close()
                raise OSError(f"{quoted_path(name)} is compressed and damaged: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._raw.close()

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; an OSError if they cannot be read, or if the file has changed."""
        try:
            raw = self._file.read(size)
        except DAMAGE as error:
            raise OSError(
                f"{quoted_path(self.name)} is compressed and damaged after {self.offset:,} bytes of text: {error}"
            ) from error
        except OSError as error:
            raise OSError(
                f"{quoted_path(self.name)} cannot be read after {self.offset:,} bytes: {error.strerror}"
            ) from error
        # Parts of two versions would make a text that never existed.
        if self._status() != self._version:
            raise OSError(
                f"{quoted_path(self.name)} has changed while it was read; type the same again when it is complete"
            )
        return raw

    def skip(self, size: int) -> None:
        """Skips so many bytes."""
        self._file.seek(size, io.SEEK_CUR)

    @property
    def offset(self) -> int:
        """The number of bytes before the next byte."""
        return self._file.tell()

    @property
    def size(self) -> int:
        """The number of bytes when it was opened, of what is in a compressed file."""
        if self.compressed_by is None:
            return self._version[0]
        before = self.offset
        try:
            return self._file.seek(0, io.SEEK_END)
        finally:
            self._file.seek(before)

    @property
    def raw_offset(self) -> int:
        """The number of bytes of the file itself that are read, which may be compressed."""
        return self._raw.tell()

    def peek(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on. `read` continues where it was."""
        before = self.offset
        self._file.seek(offset)
        try:
            return self.read(size)
        finally:
            self._file.seek(before)

    def parts(self, size: int) -> Iterator[tuple[int, bytes]]:
        """The whole file from its start, `(offset, bytes)` of at most `size` bytes at a time."""
        offset = 0
        while raw := self.peek(offset, size):
            yield offset, raw
            offset += len(raw)

    def line(self, offset: int, part: int) -> int:
        """The line number of the byte at `offset`, with universal newlines.

        It reads the file again, `part` bytes at a time.
        """
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("latin-1")(), translate=True)
        self._file.seek(0)
        line = 1
        while offset and (raw := self.read(min(part, offset))):
            offset -= len(raw)
            line += decoder.decode(raw, final=not offset).count("\n")
        return line

    def _status(self):
        status = os.fstat(self._raw.fileno())
        return status.st_size, status.st_mtime_ns


def quoted_path(name: str | os.PathLike[str]) -> str:
    """The name of a file as one would type it in a shell, always in one line.

    Example:

    >>> from tfcharlm.text.text_file import quoted_path
    >>> print(quoted_path("text.txt"), quoted_path("my text.txt"), quoted_path("a\\nb"))
    text.txt 'my text.txt' 'a\\nb'
    """
    text = os.fspath(name)
    return shlex.quote(text) if text.isprintable() else repr(text)


def _open(name):
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise ValueError(f"name must be the path of a text file; received {name!r}.")
    try:
        file = open(name, "rb", opener=_without_waiting)  # noqa: SIM115, `TextFile` closes it
    except IsADirectoryError:
        raise IsADirectoryError(f"{quoted_path(name)} is a directory; expected one text file") from None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise FileNotFoundError(f"no file {os.fspath(name)!r}{_link(name)}") from None
    except OSError as error:
        raise type(error)(f"{quoted_path(name)} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{quoted_path(name)} is not a regular file; write what it gives to one, and load that")
    return file


def _link(name):
    try:
        return f", only a link to {str(Path(name).readlink())!r}"
    except (OSError, ValueError):
        return ""


def _without_waiting(path, flags):
    # Without the flag, opening a pipe waits until somebody writes to it. Windows has neither the flag nor such pipes.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

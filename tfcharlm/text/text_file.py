"""A text file as something that is read once from its beginning to its end, and is the same file all the while."""

import codecs
import io
import os
import shlex
import stat
from pathlib import Path


class TextFile:
    """A regular file, open for reading; `with` closes it.

    Args:
        name: its path.

    Raises:
        OSError: no such file, a directory, or something else that is no regular file.
        ValueError: not the path of a file at all.

    Example:

    >>> path = tempfile.mkdtemp() + "/text.txt"
    >>> with open(path, "wb") as file:
    ...     _ = file.write(b"to be")
    >>> with TextFile(path) as text:
    ...     text.begin, text.read(2), text.read(9)
    (b'to be', b'to', b' be')
    """

    def __init__(self, name):
        self.name = name
        self._file = _open(name)
        self._version = self._status()
        # Enough to see what kind of file it is; nothing is taken away from what is read.
        self.begin = self._file.peek()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def read(self, size):
        """The next bytes, at most `size`; an OSError if they cannot be read, or if somebody has written to the file."""
        try:
            raw = self._file.read(size)
        except OSError as error:
            raise OSError(
                f"{quoted_path(self.name)} cannot be read after {self.offset:,} bytes: {error.strerror}"
            ) from error
        # Parts of two versions would be a text that never was.
        if self._status() != self._version:
            raise OSError(
                f"{quoted_path(self.name)} has changed while it was read; type the same again when it is complete"
            )
        return raw

    def skip(self, size):
        self._file.seek(size, io.SEEK_CUR)

    @property
    def offset(self):
        """The number of bytes before the next one."""
        return self._file.tell()

    def line(self, offset, part):
        """The number of the line that a byte is in, whatever lines end in; read in parts, and to be called last."""
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("latin-1")(), translate=True)
        self._file.seek(0)
        line = 1
        while offset and (raw := self.read(min(part, offset))):
            offset -= len(raw)
            line += decoder.decode(raw, final=not offset).count("\n")
        return line

    def _status(self):
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


def quoted_path(name):
    """The name of a file as one would type it, in one line whatever it has.

    Example:

    >>> print(quoted_path("text.txt"), quoted_path("my text.txt"), quoted_path("a\\nb"))
    text.txt 'my text.txt' 'a\\nb'
    """
    text = os.fspath(name)
    return shlex.quote(text) if text.isprintable() else repr(text)


def _open(name):
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise ValueError(f"expected the path of a text file; received {name!r}")
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
    # Opening a pipe would wait until somebody writes to it. Windows has no such flag, and no such pipes.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

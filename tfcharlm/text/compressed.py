"""Compressed files, read as what is in them. What a file is, its first bytes say."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

# What a damaged file raises while it is read.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
LONGEST = 6
READERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def compression(begin: bytes) -> str | None:
    """The program that compressed a file, "gzip", "bzip2" or "xz", or None if none of them did.

    Args:
        begin: its first bytes, at least `LONGEST` if it has so many.

    Example:

    >>> import gzip
    >>> from tfcharlm.text.compressed import compression
    >>> compression(gzip.compress(b"to be")[:6]), compression(b"to be")
    ('gzip', None)
    """
    if begin.startswith(b"\x1f\x8b"):
        return "gzip"
    # The fourth byte is the size of a block. A text may begin with "BZh", too.
    if begin.startswith(b"BZh") and begin[3:4].isdigit() and begin[4:6] in (b"1A", b"\x17r"):
        return "bzip2"
    return "xz" if begin.startswith(b"\xfd7zXZ\0") else None


def decompressed(file: BinaryIO, program: str) -> io.BufferedReader:
    """A reader of what a compressed file contains.

    Args:
        file: an open file, at its start. It must stay open.
        program: what `compression` returned.

    Example:

    >>> import gzip, io
    >>> from tfcharlm.text.compressed import decompressed
    >>> decompressed(io.BytesIO(gzip.compress(b"to be")), "gzip").read()
    b'to be'
    """
    return io.BufferedReader(READERS[program](file))

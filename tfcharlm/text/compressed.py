"""Compressed files, read as what is in them. What a file is, its first bytes say."""

import bz2
import gzip
import io
import lzma
import zlib
from typing import Any, BinaryIO

# What a damaged file raises while it is read.
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
LONGEST = 6


def decompressed(file: BinaryIO, begin: bytes) -> io.BufferedReader | None:
    """A reader of what a compressed file contains, or None if the file is not compressed by gzip, bzip2 or xz.

    Args:
        file: an open file, at its start. It must stay open.
        begin: its first bytes, at least `LONGEST` if it has so many.

    Example:

    >>> import gzip, io
    >>> from tfcharlm.text.compressed import decompressed
    >>> raw = gzip.compress(b"to be")
    >>> decompressed(io.BytesIO(raw), raw[:6]).read()
    b'to be'
    """
    reader: Any = None
    if begin.startswith(b"\x1f\x8b"):
        reader = gzip.GzipFile(fileobj=file)
    # The fourth byte is the size of a block. A text may begin with "BZh", too.
    elif begin.startswith(b"BZh") and begin[3:4].isdigit() and begin[4:6] in (b"1A", b"\x17r"):
        reader = bz2.BZ2File(file)
    elif begin.startswith(b"\xfd7zXZ\0"):
        reader = lzma.LZMAFile(file)  # noqa: SIM115, the caller reads and closes it
    return None if reader is None else io.BufferedReader(reader)

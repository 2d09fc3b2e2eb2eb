"""What the bytes of a file show about its encoding: byte order marks, UTF-16 and UTF-32 without one, other files."""

import codecs

import numpy as np

# UTF-32 comes first, because its mark starts with the mark of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# How files that are not text begin.
SIGNATURES = {
    b"\x7fELF": "a program",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive, such as a Word document or an e-book",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Word document",
    b"\x1f\x8b": "gzip data",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\0": "xz data",
    b"\x28\xb5\x2f\xfd": "Zstandard data",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"SQLite format 3\0": "an SQLite database",
}
TAR = "a tar archive"
# At least so many characters of a text are ASCII, such as spaces and newlines, in any script.
ASCII_SHARE = 0.01
# Nearly all characters of a text are in two blocks of 256: in ASCII and Latin-1, and in that of its script.
TWO_BLOCKS = 0.8
# The blocks of scripts with more characters, by the first two digits: kana and marks, Chinese, Hangul, wide forms.
LARGE_SCRIPTS = np.isin(np.arange(256), [0, 0x30, *range(0x4E, 0xA0), *range(0xAC, 0xD8), 0xFF])


def bom_encoding(begin: bytes) -> str | None:
    """The encoding whose byte order mark the bytes start with, or None. Text in UTF-8 starts with none of these marks.

    Example:

    >>> from tfcharlm.text.encodings import bom_encoding
    >>> bom_encoding("to be".encode("utf-16")), bom_encoding("to be".encode("utf-8-sig"))
    ('utf-16', None)
    """
    return next((encoding for mark, encoding in MARKS.items() if begin.startswith(mark)), None)


def wide_encoding(part: bytes, offset: int = 0, shortest: int = 8) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark, in the spelling of `iconv`, if the bytes look like it.

    Such text may be valid UTF-8: that of ASCII letters is the same letters with NULs between them. A text in UTF-8 that
    has some NULs is not mistaken for it, because its NULs are not all in every second byte.

    Args:
        part: a part of a file.
        offset: where in the file it starts.
        shortest: number of bytes, 8 by default, of which fewer show nothing.

    Example:

    >>> from tfcharlm.text.encodings import wide_encoding
    >>> wide_encoding("to be or not".encode("utf-16-be")), wide_encoding(b"to be\\0or not\\0")
    ('utf-16be', None)
    """
    # Nearly every text of a file in UTF-8 ends here.
    if b"\0" not in part:
        return None
    part = part[-offset % 4 :]
    if len(part) < shortest:
        return None
    for order, encoding in (("<", "utf-32le"), (">", "utf-32be")):
        characters = np.frombuffer(part[: len(part) // 4 * 4], f"{order}u4")
        if characters.max() < 0x110000 and np.count_nonzero(characters) > 0.9 * len(characters):
            return encoding
    columns = np.frombuffer(part[: len(part) // 2 * 2], np.uint8).reshape(-1, 2)
    for column, encoding in ((1, "utf-16le"), (0, "utf-16be")):
        blocks = np.bincount(columns[:, column], minlength=256) / len(columns)
        rest = np.count_nonzero(columns[:, 1 - column] == 0) / len(columns)
        enough = blocks[0] >= max(ASCII_SHARE, min(4, shortest // 2) / len(columns))
        if enough and rest <= blocks[0] / 10:
            if np.sort(blocks)[-2:].sum() >= TWO_BLOCKS:
                return encoding
            if len(columns) > 64 and blocks[LARGE_SCRIPTS].sum() > 0.95 and not _is_utf8(part):
                return encoding
    return None


def signature(begin: bytes) -> str | None:
    """What a file is that begins with these bytes and is not text, or None.

    Example:

    >>> from tfcharlm.text.encodings import signature
    >>> signature(b"\\x1f\\x8b\\x08\\0"), signature(b"to be")
    ('gzip data', None)
    """
    # The first name in a tar archive comes before what shows what it is.
    if begin[257:262] == b"ustar":
        return TAR
    return next((kind for start, kind in SIGNATURES.items() if begin.startswith(start)), None)


def _is_utf8(part: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(part)
    except UnicodeDecodeError:
        return False
    return True

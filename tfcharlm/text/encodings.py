"""The encoding of bytes that are not UTF-8, from their byte order mark or by a guess."""

import codecs

# UTF-32 comes first, because its mark starts with the mark of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def bom_encoding(begin: bytes) -> str | None:
    """The encoding whose byte order mark the bytes start with, or None. Text in UTF-8 starts with none of these marks.

    Example:

    >>> from tfcharlm.text.encodings import bom_encoding
    >>> bom_encoding("to be".encode("utf-16")), bom_encoding("to be".encode("utf-8-sig"))
    ('utf-16', None)
    """
    return next((encoding for mark, encoding in MARKS.items() if begin.startswith(mark)), None)


def likely_encoding(begin: bytes) -> str:
    """A guess at the encoding of bytes that are known not to be UTF-8, in the spelling of `iconv`.

    Example:

    >>> from tfcharlm.text.encodings import likely_encoding
    >>> likely_encoding("thé".encode("utf-16-le")), likely_encoding("thé".encode("latin-1"))
    ('utf-16le', 'latin1')
    """
    # In UTF-16, nearly every character of a Western text has a zero byte: the first (big endian) or the second.
    first, second = (begin[offset::2].count(0) / max(1, len(begin[offset::2])) for offset in (0, 1))
    if max(first, second) > 0.5 > 0.1 > min(first, second):
        return "utf-16be" if first > second else "utf-16le"
    return "latin1"

"""What encoding bytes have that are not UTF-8: the mark that they begin with says it, or a guess."""

import codecs

# In this order: the mark of UTF-32 begins with the one of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def bom_encoding(begin):
    """The encoding whose byte order mark these bytes begin with; None without a mark. No UTF-8 begins with any of them.

    Example:

    >>> bom_encoding("to be".encode("utf-16")), bom_encoding("to be".encode("utf-8-sig"))
    ('utf-16', None)
    """
    return next((encoding for mark, encoding in MARKS.items() if begin.startswith(mark)), None)


def likely_encoding(begin):
    """The encoding that these bytes may have, as `iconv` calls it, when they are known to be no UTF-8.

    Example:

    >>> likely_encoding("thé".encode("utf-16-le")), likely_encoding("thé".encode("latin-1"))
    ('utf-16le', 'latin1')
    """
    # In UTF-16 the first byte of nearly every character of a Western text is 0, or the second.
    first, second = (begin[place::2].count(0) / max(1, len(begin[place::2])) for place in (0, 1))
    if max(first, second) > 0.5 > 0.1 > min(first, second):
        return "utf-16be" if first > second else "utf-16le"
    return "latin1"

"""Files that are not plain text in UTF-8, and what Python makes of them."""

import codecs
import re

import numpy as np
import tensorflow as tf

from tfcharlm.text import GraphCodec, Vocabulary

LEVELS = ("char", "byte", "word")
PLAIN = b"to be or not to be, that is\nthe question\n"


# Contents without a mark that are refused although Python could read them as UTF-8, or replace what it cannot read.
WIDE = ("UTF-16 LE", "UTF-16 BE", "UTF-16 that is UTF-8 with NULs", "UTF-32 LE")


def read_by_python(data, errors):
    """The text that a file of these bytes has, by Python's own decoder; or what a line about it must say."""
    if any(data == CONTENTS[name] for name in WIDE):
        return None, "looks like UTF-(16|32) without a byte order mark; type iconv -f utf-"
    wide = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
    if data.startswith(wide):
        begin = r"begins with the byte order mark of UTF-(16|32)"
        try:
            data.decode("utf-32" if data.startswith(wide[2:]) else "utf-16")
        except UnicodeDecodeError:
            return None, f"{begin}, and is something else after it"
        return None, rf"{begin}; type iconv -f utf-\1 "
    try:
        text = data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = len(re.findall("\r\n|\r|\n", data[: error.start].decode())) + 1
        return None, rf"is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}, line {line}; "
    text = re.sub("\r\n?", "\n", text.removeprefix("\ufeff"))
    return (text, None) if text.strip() else (None, "has no text: (it is empty|nothing but white space)")


CONTENTS = {
    # Nearly nothing
    "empty": b"",
    "one byte": b"a",
    "two bytes": b"ab",
    "one symbol": b"a" * 500,
    "one line": b"to be " * 5000,
    "one word": b"a" * 5000,
    "a newline": b"\n",
    "newlines": b"\n" * 500,
    "spaces": b" " * 500,
    "white space": b" \t\r\n\v\f\x1c\x1d\x1e\x1f\x85",
    "no-break spaces": "\u00a0\u2003\u3000".encode() * 100,
    "line separators alone": "\u2028\u2029\u0085".encode() * 100,
    # Marks
    "mark of UTF-8": codecs.BOM_UTF8 + PLAIN,
    "mark of UTF-8 alone": codecs.BOM_UTF8,
    "mark of UTF-8 and a newline": codecs.BOM_UTF8 + b"\n",
    "two marks of UTF-8": 2 * codecs.BOM_UTF8 + PLAIN,
    "mark of UTF-8 in the middle": PLAIN + codecs.BOM_UTF8 + PLAIN,
    "one byte of the mark": codecs.BOM_UTF8[:1],
    "two bytes of the mark": codecs.BOM_UTF8[:2],
    "two bytes of the mark, then text": codecs.BOM_UTF8[:2] + PLAIN,
    "mark of UTF-16 LE": codecs.BOM_UTF16_LE + PLAIN.decode().encode("utf-16-le"),
    "mark of UTF-16 BE": codecs.BOM_UTF16_BE + PLAIN.decode().encode("utf-16-be"),
    "mark of UTF-16 alone": codecs.BOM_UTF16_LE,
    "mark of UTF-16 before UTF-8": codecs.BOM_UTF16_BE + PLAIN,
    "mark of UTF-32 LE": codecs.BOM_UTF32_LE + PLAIN.decode().encode("utf-32-le"),
    "mark of UTF-32 BE": codecs.BOM_UTF32_BE + PLAIN.decode().encode("utf-32-be"),
    "mark of UTF-32 alone": codecs.BOM_UTF32_BE,
    # Other encodings without a mark
    "UTF-16 LE": "th\u00e9 \u017c\u00f3\u0142w\n".encode("utf-16-le") * 20,
    "UTF-16 BE": "th\u00e9 \u017c\u00f3\u0142w\n".encode("utf-16-be") * 20,
    "UTF-16 that is UTF-8 with NULs": PLAIN.decode().encode("utf-16-le"),
    "UTF-32 LE": "th\u00e9\n".encode("utf-32-le"),
    "Latin-1": "\u00e9l\u00e8ve \u00e0 la plage\n".encode("latin-1") * 50,
    "short Latin-1": "caf\u00e9, th\u00e9\n".encode("latin-1"),
    "Windows-1252": "\u201cto be\u201d\n".encode("cp1252"),
    "KOI8-R": "\u0431\u044b\u0442\u044c\n".encode("koi8-r"),
    "Shift JIS": "\u751f\u304d\u308b\n".encode("shift-jis"),
    "GB 18030": "\u751f\u5b58\n".encode("gb18030"),
    "EBCDIC": "to be\n".encode("cp500"),
    "UTF-7": "th\u00e9\n".encode("utf-7"),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x2b\xc9\x57\x48\x4a\xe5\x02\x00",
    "PNG": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    # No UTF-8
    "lone continuation": b"a\x80b",
    "byte FE": b"a\xfeb",
    "byte FF": b"a\xffb",
    "byte FF after lines of CR LF": b"a\r\nb\r\n\xff",
    "byte FF after lines of CR": b"a\rb\r\xff",
    "byte FF at the end": PLAIN + b"\xff",
    "byte FF far behind": PLAIN * 26_000 + b"\xff" + PLAIN,
    "overlong slash": b"a\xc0\xafb",
    "overlong NUL": b"a\xc0\x80b",
    "overlong of three bytes": b"a\xe0\x80\xafb",
    "overlong of four bytes": b"a\xf0\x80\x80\xafb",
    "two bytes cut to one": b"a\xc3",
    "three bytes cut to two": b"a\xe2\x80",
    "four bytes cut to three": b"a\xf0\x9f\x98",
    "four bytes cut to three, then text": b"a\xf0\x9f\x98b",
    "half a surrogate pair": b"a\xed\xa0\xbdb",
    "other half of a surrogate pair": b"a\xed\xb8\x80b",
    "surrogate pair (CESU-8)": b"a\xed\xa0\xbd\xed\xb8\x80b",
    "above U+10FFFF": b"a\xf4\x90\x80\x80b",
    "five bytes": b"a\xf8\x88\x80\x80\x80b",
    "six bytes": b"a\xfc\x84\x80\x80\x80\x80b",
    # UTF-8 of which a program may think that it knows better
    "NUL": b"a\0b\n\0\0",
    "NULs alone": b"\0" * 500,
    "NUL at the end": PLAIN + b"\0",
    "NUL at the beginning": b"\0" + PLAIN,
    "every control character": bytes(range(32)) + b"\x7f" + PLAIN,
    "C1 control characters": "".join(map(chr, range(0x80, 0xA0))).encode() + PLAIN,
    "escape sequences": b"\x1b[31mred\x1b[0m \x1b]0;title\x07\n",
    "end of file of DOS": PLAIN + b"\x1a",
    "backspaces": b"b\x08a",
    "lines of CR LF": b"a\r\nb\r\n\r\n",
    "lines of CR": b"a\rb\r\r",
    "every kind of line": b"a\nb\r\nc\rd\n\re\r\r\nf",
    "CR at the end": b"a\r",
    "separators that are no lines": "a\u2028b\u2029c\u0085d\ve\ff\x1cg".encode(),
    "non-characters": "a\ufdd0\ufdef\ufffe\uffff\U0001fffe\U0010ffffb".encode(),
    "private use": "a\ue000\uf8ff\U000f0000\U0010fffdb".encode(),
    "not assigned": "a\u0378\U000e0fffb".encode(),
    "replacement characters": "a\ufffd\ufffdb".encode(),
    "combining characters": ("a" + "\u0301\u0327\u20dd" * 200).encode(),
    "composed and decomposed": "\u00e9e\u0301 \u212b\u00c5A\u030a".encode(),
    "right to left": "\u202eabc\u202c \u200f\u05d0\u05d1 \u2066x\u2069".encode(),
    "joiners": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u200b\u2060\u00ad".encode(),
    "flags and skin": "\U0001f1f5\U0001f1f1 \U0001f44d\U0001f3fd".encode(),
    "tags and variation selectors": "a\ufe0f\ufe0e\U000e0061\U000e0100".encode(),
    "above U+FFFF": "\U00010348\U0001f600\U00020000".encode() * 50,
    "case and its pitfalls": "\u0130\u0131\u00df\u1e9e\ufb01\u01c5".encode(),
    "greatest of each length": "\x7f\u07ff\uffff\U0010ffff".encode(),
    "least of each length": "\x00\u0080\u0800\U00010000".encode(),
    "markup": b"<script>alert('&amp;')</script> [bold]x[/] {0} %s $HOME `ls` \\x41\n",
}


def assert_same_ids_in_a_graph(texts, level):
    tokens = set().union(*(Vocabulary.from_text(text, level, spell=False).tokens for text in texts))
    vocabulary = Vocabulary(sorted(tokens), level)
    codec = GraphCodec(vocabulary)
    ids = codec.encode(tf.constant(texts))
    rows = np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_array_equal(row, vocabulary.encode(text), err_msg=repr(text))
        assert vocabulary.decode(row) == text
    assert codec.decode(ids[:1].to_tensor()).numpy().tolist() == [texts[0].encode()]

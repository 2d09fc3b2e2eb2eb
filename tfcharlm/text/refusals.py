"""The error for a file that is not UTF-8: what it is, and what to type. Every command in it gives the text back."""

import codecs
import itertools
import os

from tfcharlm.text.encoding_guess import Guess, differs_in_iconv, guess_encoding, is_text
from tfcharlm.text.encodings import bom_encoding, signature, wide_encoding
from tfcharlm.text.text_file import TextFile, quoted_path

# Number of bytes that are read at a time, and in each place of a sample.
CHUNK, WINDOW = 1 << 20, 1 << 13
# A sample is from the place of the error and from so many places in the whole file.
PLACES = 8
ESCAPED = (Guess("iso2022_jp", "iso-2022-jp"), Guess("iso2022_kr", "iso-2022-kr"))
_REPLACE = 'type errors="replace" to read U+FFFD instead'


def marked(file: TextFile) -> ValueError:
    """The error for a file with the byte order mark of UTF-16 or UTF-32."""
    encoding = str(bom_encoding(file.begin))
    begin = f"{quoted_path(file.name)} begins with the byte order mark of {encoding.upper()}"
    if _decodes(file, encoding):
        return ValueError(f"{begin}; {_conversion(file, encoding)}")
    return ValueError(f"{begin}, and is something else after it; give a file that is UTF-8 from start to end")


def other_than_text(file: TextFile, kind: str) -> ValueError:
    """The error for a file that begins like one of another kind."""
    return ValueError(f"{quoted_path(file.name)} begins like {kind}; give the text that is in it")


def without_mark(file: TextFile, encoding: str, offset: int) -> ValueError:
    """The error for a file that has UTF-16 or UTF-32 without a mark at `offset`."""
    name, what, kind = quoted_path(file.name), encoding[:6].upper(), signature(file.begin)
    if kind is not None:
        return other_than_text(file, kind)
    if all(_is_wide(part, begin, encoding) for begin, part in file.parts(CHUNK)) and _gives_text(
        file, Guess(encoding, encoding)
    ):
        return ValueError(f"{name} looks like {what} without a byte order mark; {_conversion(file, encoding)}")
    return ValueError(
        f"{name} looks like {what} without a byte order mark from offset {offset}, and like something else before or "
        "after that; give a file that is UTF-8 from start to end"
    )


def escaped(file: TextFile) -> ValueError | None:
    """The error for a file in an encoding that switches scripts by escape sequences; None if it is another file."""
    for guess in ESCAPED:
        if _gives_text(file, guess):
            return ValueError(
                f"{quoted_path(file.name)} looks like {guess.iconv.upper()}; {_conversion(file, guess.iconv)}"
            )
    return None


def not_utf8(file: TextFile, error: UnicodeDecodeError) -> ValueError:
    """The error for a file of which the last part that was read is not UTF-8."""
    # The bytes that the decoder could not decode are the last ones that were read.
    offset = file.offset - len(error.object) + error.start
    line = file.line(offset, CHUNK)
    return ValueError(
        f"{quoted_path(file.name)} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset}, "
        f"line {line}; {_advice(file, offset)}"
    )


def _advice(file, offset):
    kind = signature(file.begin)
    if kind is not None:
        return f"it begins like {kind}, so give the text that is in it"
    # Too short to tell if the file were UTF-8.
    wide = wide_encoding(file.begin, shortest=4)
    if wide is not None and _gives_text(file, Guess(wide, wide)):
        return f"it looks like {wide.upper()}; {_conversion(file, wide)}"
    sample = _sample(file, offset)
    if _is_nearly_utf8(sample):
        return f"most of it is UTF-8, so it is damaged; repair it, or {_REPLACE}"
    guess = guess_encoding(sample)
    if guess is not None and _gives_text(file, guess):
        return f"it looks like {guess.iconv.upper()}; {_conversion(file, guess.iconv)}, or {_REPLACE}"
    command, _ = _command(file, "ENCODING")
    return f"its encoding is not known: convert it with {command}, or {_REPLACE}"


def _sample(file: TextFile, offset: int) -> bytes:
    """Whole lines with bytes that are not ASCII, from where the error is and from all over the file."""
    places = {max(0, offset - WINDOW // 2), *range(0, file.size, file.size // PLACES + 1)}
    lines: list[bytes] = []
    for place in sorted(places):
        window = file.peek(place, WINDOW)
        begin = 0 if place == 0 else window.find(b"\n") + 1
        end = len(window) if place + len(window) >= file.size else window.rfind(b"\n") + 1
        if end <= begin:
            # One long line: it may be cut after a space, which is no part of a character in any encoding.
            begin, end = (0 if place == 0 else window.find(b" ") + 1), window.rfind(b" ") + 1
        lines += [line for line in window[begin:end].splitlines(keepends=True) if not line.isascii()]
    return b"".join(dict.fromkeys(lines)) if len(set(lines)) > PLACES else b"".join(lines)


def _is_nearly_utf8(sample: bytes) -> bool:
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - wrong > wrong


def _is_wide(part, offset, encoding):
    # The last part may be too short to tell.
    return len(part) < 1 << 10 or wide_encoding(part, offset) == encoding


def _gives_text(file: TextFile, guess: Guess) -> bool:
    """Whether the whole file is text in an encoding, and the text in that encoding is the file."""
    decoder, encoder = codecs.getincrementaldecoder(guess.codec)(), codecs.getincrementalencoder(guess.codec)()
    read, is_other_than_ascii = b"", False
    try:
        for _, part in file.parts(CHUNK):
            text = decoder.decode(part)
            written, read = encoder.encode(text), read + part
            if not read.startswith(written) or not is_text(text) or differs_in_iconv(text, guess.codec):
                return False
            read, is_other_than_ascii = read[len(written) :], is_other_than_ascii or not text.isascii()
        decoder.decode(b"", final=True)
        return read == encoder.encode("", final=True) and (is_other_than_ascii or guess.codec.startswith("utf"))
    except UnicodeError:
        return False


def _decodes(file: TextFile, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for _, part in file.parts(CHUNK):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _conversion(file: TextFile, encoding: str) -> str:
    command, made = _command(file, encoding)
    return f"type {command} and load {made}"


def _command(file, encoding):
    """The command to type, and the file that it makes, which is never a file that exists."""
    made = next(made for i in itertools.count(1) if not os.path.lexists(made := f"utf8{f'-{i}' if i > 1 else ''}.txt"))
    path = os.fspath(file.name)
    # A name that begins with a hyphen would be an option.
    path = quoted_path(f"./{path}" if path.startswith("-") else path)
    if file.compressed_by is not None:
        return f"{file.compressed_by} -dc < {path} | iconv -f {encoding} -t utf-8 > {made}", made
    return f"iconv -f {encoding} -t utf-8 {path} > {made}", made

"""Text files: read whole, or, if they are larger than memory, in parts that are encoded to ids on the disk."""

import codecs
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tfcharlm.atomic_files import replace_file
from tfcharlm.text import refusals
from tfcharlm.text.checks import UnknownTokenError
from tfcharlm.text.encodings import TAR, bom_encoding, signature, wide_encoding
from tfcharlm.text.text_file import TextFile, quoted_path
from tfcharlm.text.vocabulary import Vocabulary
from tfcharlm.text.words import SPACES

# Number of bytes that are read at a time.
CHUNK = 1 << 20


def read_text(name: str | os.PathLike[str], errors: str = "strict") -> str:
    """The whole text of a file: what `read_chunks` yields, joined."""
    text = "".join(read_chunks(name, errors))
    if not text or text.isspace():
        raise ValueError(f"{quoted_path(name)} has no text: {'nothing but white space' if text else 'it is empty'}")
    return text


def read_chunks(
    name: str | os.PathLike[str],
    errors: str = "strict",
    decompress: bool = False,
    on_read: Callable[[int], object] = lambda offset: None,
) -> Iterator[str]:
    """Reads a text file in parts of about a million characters. No word that is shorter than a part is cut.

    Args:
        name: path of a file in UTF-8.
        errors: what to do with bytes that are not UTF-8. "strict" (default) raises, because a model would learn the
            damage, too. "replace" reads U+FFFD instead, as `bytes.decode` does.
        decompress: whether to read what is in a file that is compressed by gzip, bzip2 or xz. False by default.
        on_read: called with the number of bytes of the file that are read so far.

    Returns:
        An iterator over non-empty str. Every line ends in "\\n", also where the file has "\\r\\n" or "\\r". A byte
        order mark is removed. Every other character is as in the file, including NUL and U+2028.

    Raises:
        OSError: there is no such file, it is not a regular file, or it changes while it is read.
        ValueError: the file is not UTF-8; the error names the position. Or it is in UTF-16 or UTF-32, with a byte order
            mark or without one, which "replace" could not turn into text either.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.text import read_chunks
    >>> path = pathlib.Path(tempfile.mkdtemp(), "text.txt")
    >>> _ = path.write_bytes(b"to be\\r\\nor\\xff not")
    >>> "".join(read_chunks(path, errors="replace"))
    'to be\\nor� not'
    """
    if errors not in ("strict", "replace"):
        raise ValueError(f'errors must be "strict" or "replace"; received {errors!r}.')
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(errors), translate=True)
    with TextFile(name, decompress) as file:
        if bom_encoding(file.begin):
            raise refusals.marked(file)
        # A tar archive of texts is UTF-8.
        if b"\0" in file.begin and signature(file.begin) == TAR:
            raise refusals.other_than_text(file, TAR)
        if encoding := wide_encoding(file.begin):
            raise refusals.without_mark(file, encoding, 0)
        # Not Python's "utf-8-sig", which treats a file that ends within the mark as an empty file.
        if file.begin.startswith(codecs.BOM_UTF8):
            file.skip(len(codecs.BOM_UTF8))
        rest, more, escapes_checked = "", True, False
        while more:
            offset, raw = file.offset, file.read(CHUNK)
            more = bool(raw)
            on_read(file.raw_offset)
            # Both may be valid UTF-8, which would be read as text with NULs or escape sequences.
            if encoding := wide_encoding(raw, offset, shortest=1 << 10):
                raise refusals.without_mark(file, encoding, offset)
            # To look for one byte first is much faster.
            if not escapes_checked and b"\x1b" in raw and b"\x1b$" in raw:
                escapes_checked = True
                if error := refusals.escaped(file):
                    raise error
            try:
                text = rest + decoder.decode(raw, final=not more)
            except UnicodeDecodeError as error:
                raise refusals.not_utf8(file, error) from None
            cut = (more and max(0, *map(text.rfind, SPACES))) or len(text)
            part, rest = text[:cut], text[cut:]
            if part:
                yield part


def encode_file(
    name: str | os.PathLike[str],
    vocabulary: Vocabulary,
    ids_name: str | os.PathLike[str],
    errors: str = "strict",
    decode_errors: str = "strict",
) -> np.memmap:
    """Encodes a text file of any size, and writes the ids to another file, from which they can be read in place.

    Args:
        name: path of a file in UTF-8.
        vocabulary: a `Vocabulary`. For a large file, `Vocabulary.from_text(read_chunks(name))`.
        ids_name: the file to write, in NumPy's format; replaced if it exists. Each id takes as few bytes as the
            vocabulary needs, which is one for up to 256 tokens.
        errors: what to do with tokens that are not in the vocabulary: "strict" (default) or "ignore", as in
            `Vocabulary.encode`.
        decode_errors: what to do with bytes that are not UTF-8: "strict" (default) or "replace", as in `read_chunks`.

    Returns:
        A read-only `numpy.memmap` of integers (length,). `numpy.load(ids_name, mmap_mode="r")` returns the same later.
        `stream_dataset` reads it, or a slice of it, without loading it into memory.

    Raises:
        OSError: the text cannot be read, or the ids cannot be written.
        ValueError: the file is not UTF-8, or has a token that is not in the vocabulary; the error names the position.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.text import Vocabulary, encode_file, read_chunks
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "text.txt").write_text("to be or not to be")
    >>> vocabulary = Vocabulary.from_text(read_chunks(folder / "text.txt"))
    >>> ids = encode_file(folder / "text.txt", vocabulary, folder / "ids.npy")
    >>> ids.dtype, vocabulary.decode(ids[:5])
    (dtype('uint8'), 'to be')
    """
    if errors not in ("strict", "ignore"):
        raise ValueError(
            f'errors must be "strict" or "ignore"; received {errors!r}. For bytes that are not UTF-8, type '
            'decode_errors="replace".'
        )
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    ids_name = Path(ids_name)
    if ids_name.exists() and Path(name).exists() and ids_name.samefile(name):
        raise ValueError(f"ids_name must be another file than the text; received {quoted_path(name)} for both.")
    if not ids_name.parent.is_dir():
        raise FileNotFoundError(f"ids_name must be in a directory that exists; received {str(ids_name)!r}.")

    def write(path):
        length = 0
        with path.open("wb") as file:
            _write_header(file, dtype, length)
            for ids in _encoded(name, vocabulary, errors, decode_errors):
                file.write(ids.astype(dtype).tobytes())
                length += len(ids)
            file.seek(0)
            _write_header(file, dtype, length)

    try:
        replace_file(ids_name, write)
    except OSError as error:
        # An error with a number comes from the system and is about the ids. `TextFile` raises errors without a number.
        if error.errno is None:
            raise
        raise OSError(f"{quoted_path(ids_name)} cannot be written: {error.strerror}") from error
    return np.load(ids_name, mmap_mode="r")


def _encoded(name, vocabulary, errors, decode_errors):
    """Yields the ids of the file, part by part."""
    lines = 1
    for part in read_chunks(name, decode_errors):
        try:
            yield vocabulary.encode(part, errors)
        except UnknownTokenError as error:
            line = lines + part.count("\n", 0, error.position)
            raise ValueError(
                f"{quoted_path(name)}: {error.token} in line {line} is not in the vocabulary of {len(vocabulary)} "
                'tokens. Type errors="ignore" to drop it, or Vocabulary.from_text(read_chunks(name)).'
            ) from None
        lines += part.count("\n")


def _write_header(file, dtype, length):
    # NumPy leaves room in a header for the first dimension to grow, so both headers have the same size.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)

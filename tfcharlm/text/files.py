"""Text files: read whole, or part by part when they are larger than memory, and then turned into ids on a disk."""

import codecs
import io
import os
import stat
from pathlib import Path

import numpy as np

from tfcharlm.text.checks import UnknownTokenError
from tfcharlm.text.words import SPACES

PART = 1 << 20


def read_text(name):
    """The text of a file, all at once: what `read_chunks` gives in parts."""
    text = "".join(read_chunks(name))
    if not text.strip():
        raise ValueError(f"{name} has no text: {Path(name).stat().st_size} bytes, nothing but white space")
    return text


def read_chunks(name):
    """A text file in parts of about a million characters, between which no word is cut that is shorter than that.

    Args:
        name: path of a file in UTF-8.

    Returns:
        An iterator of str, not empty. Lines end in "\\n" whatever they ended in, and there is no byte order mark.

    Raises:
        OSError: no such file, a directory, or something else that is no regular file.
        ValueError: the file is not UTF-8; the place is named.

    Example:

    >>> path = tempfile.mkdtemp() + "/text.txt"
    >>> with open(path, "wb") as file:
    ...     _ = file.write(b"to be\\r\\nor not")
    >>> "".join(read_chunks(path))
    'to be\\nor not'
    """
    _check_regular_file(name)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    with Path(name).open("rb") as file:
        rest, more = "", True
        while more:
            raw = file.read(PART)
            more = bool(raw)
            try:
                text = rest + decoder.decode(raw, final=not more)
            except UnicodeDecodeError as error:
                # The bytes that the decoder could not take are the last ones that were read.
                raise _not_utf8(name, file.tell() - len(error.object) + error.start) from None
            cut = (more and max(0, *map(text.rfind, SPACES))) or len(text)
            part, rest = text[:cut], text[cut:]
            if part:
                yield part


def encode_file(name, vocabulary, ids_name, errors="strict"):
    """The ids of a text file of any size, written to a file of their own from which they can be read in place.

    Args:
        name: path of a file in UTF-8.
        vocabulary: a `Vocabulary`; of a large file, `Vocabulary.from_text(read_chunks(name))`.
        ids_name: the file to write, replaced if it exists: NumPy's format, each id in as few bytes as the vocabulary
            needs, one for up to 256 tokens.
        errors: "strict" or "ignore", as for `Vocabulary.encode`.

    Returns:
        A read-only `numpy.memmap` of integers (length,): what `numpy.load(ids_name, mmap_mode="r")` gives later.
        `stream_dataset` reads it, or a slice of it, without taking it into memory.

    Raises:
        OSError: the file cannot be read, or the other not be written.
        ValueError: the file is not UTF-8, or has something that the vocabulary does not have; the place is named.

    Example:

    >>> folder = tempfile.mkdtemp()
    >>> with open(folder + "/text.txt", "w") as file:
    ...     _ = file.write("to be or not to be")
    >>> vocabulary = Vocabulary.from_text(read_chunks(folder + "/text.txt"))
    >>> ids = encode_file(folder + "/text.txt", vocabulary, folder + "/ids.npy")
    >>> ids.dtype, vocabulary.decode(ids[:5])
    (dtype('uint8'), 'to be')
    """
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    ids_name = Path(ids_name)
    if ids_name.exists() and Path(name).exists() and ids_name.samefile(name):
        raise ValueError(
            f"the ids cannot replace the text that they are made of; got {name} for both; give another file"
        )
    if not ids_name.parent.is_dir():
        raise FileNotFoundError(f"no directory {str(ids_name.parent)!r} to write {ids_name.name} to")
    unfinished = ids_name.with_name(ids_name.name + ".part")
    length, lines = 0, 1
    try:
        with unfinished.open("wb") as file:
            _write_header(file, dtype, length)
            for part in read_chunks(name):
                try:
                    ids = vocabulary.encode(part, errors)
                except UnknownTokenError as error:
                    line = lines + part.count("\n", 0, error.position)
                    raise ValueError(
                        f"{name}: {error.token} in line {line} is not in the vocabulary of {len(vocabulary)} tokens; "
                        'type errors="ignore" to drop it, or Vocabulary.from_text(read_chunks(name))'
                    ) from None
                file.write(ids.astype(dtype).tobytes())
                length += len(ids)
                lines += part.count("\n")
            file.seek(0)
            _write_header(file, dtype, length)
        unfinished.replace(ids_name)
    finally:
        unfinished.unlink(missing_ok=True)
    return np.load(ids_name, mmap_mode="r")


def _write_header(file, dtype, length):
    # NumPy leaves room in a header for the first dimension to grow to any length: both headers have the same size.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)


def _not_utf8(name, offset):
    with Path(name).open("rb") as file:
        begin, line, place = file.read(2), 1, 0
        file.seek(0)
        while place < offset:
            raw = file.read(min(PART, offset - place))
            line, place = line + raw.count(b"\n"), place + len(raw)
        wrong = file.read(1)[0]
    utf16 = begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return ValueError(
        f"{name} is not UTF-8: byte 0x{wrong:02x} at offset {offset}, line {line}; type "
        f"iconv -f {'utf-16' if utf16 else 'latin-1'} -t utf-8 {name} > utf8.txt "
        "(with the encoding that it has) and load utf8.txt"
    )


def _check_regular_file(name):
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise ValueError(f"expected the path of a text file; got {name!r}")
    try:
        mode = Path(name).stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise FileNotFoundError(f"no file {os.fspath(name)!r}") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{name} is a directory; expected one text file")
    # A pipe would block the reading for ever.
    if not stat.S_ISREG(mode):
        raise OSError(f"{name} is not a regular file; expected a text file")

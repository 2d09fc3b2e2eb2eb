"""Text files: read whole, or part by part when they are larger than memory, and then turned into ids on a disk."""

import codecs
import io
from pathlib import Path

import numpy as np

from tfcharlm.atomic_files import replace_file
from tfcharlm.text.checks import UnknownTokenError
from tfcharlm.text.encodings import bom_encoding, likely_encoding
from tfcharlm.text.text_file import TextFile, quoted_path
from tfcharlm.text.words import SPACES

CHUNK = 1 << 20


def read_text(name, errors="strict"):
    """The text of a file, all at once: what `read_chunks` gives in parts."""
    text = "".join(read_chunks(name, errors))
    if not text or text.isspace():
        raise ValueError(f"{quoted_path(name)} has no text: {'nothing but white space' if text else 'it is empty'}")
    return text


def read_chunks(name, errors="strict"):
    """A text file in parts of about a million characters, between which no word is cut that is shorter than that.

    Args:
        name: path of a file in UTF-8.
        errors: of bytes that are not UTF-8: "strict" (default: a model would learn the damage as well) or "replace",
            which reads U+FFFD in their place, as `bytes.decode` does.

    Returns:
        An iterator of str, not empty. Lines end in "\\n" whatever they ended in ("\\r\\n", "\\r"), and there is no byte
        order mark; every other character is as it stands in the file, such as NUL and U+2028.

    Raises:
        OSError: no such file, a directory, or something else that is no regular file; or it changes meanwhile.
        ValueError: the file is not UTF-8, and the place is named. It begins with the mark of UTF-16 or UTF-32, of
            which "replace" would not make a text either.

    Example:

    >>> path = tempfile.mkdtemp() + "/text.txt"
    >>> with open(path, "wb") as file:
    ...     _ = file.write(b"to be\\r\\nor\\xff not")
    >>> "".join(read_chunks(path, errors="replace"))
    'to be\\nor� not'
    """
    if errors not in ("strict", "replace"):
        raise ValueError(f'errors must be "strict" or "replace"; received {errors!r}')
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(errors), translate=True)
    with TextFile(name) as file:
        if bom_encoding(file.begin):
            raise _marked(file)
        # Not Python's "utf-8-sig", which takes a file that ends within the mark for an empty one.
        if file.begin.startswith(codecs.BOM_UTF8):
            file.skip(len(codecs.BOM_UTF8))
        rest, more = "", True
        while more:
            raw = file.read(CHUNK)
            more = bool(raw)
            try:
                text = rest + decoder.decode(raw, final=not more)
            except UnicodeDecodeError as error:
                raise _not_utf8(file, error) from None
            cut = (more and max(0, *map(text.rfind, SPACES))) or len(text)
            part, rest = text[:cut], text[cut:]
            if part:
                yield part


def encode_file(name, vocabulary, ids_name, errors="strict", decode_errors="strict"):
    """The ids of a text file of any size, written to a file of their own from which they can be read in place.

    Args:
        name: path of a file in UTF-8.
        vocabulary: a `Vocabulary`; of a large file, `Vocabulary.from_text(read_chunks(name))`.
        ids_name: the file to write, replaced if it exists: NumPy's format, each id in as few bytes as the vocabulary
            needs, one for up to 256 tokens.
        errors: of tokens that the vocabulary does not have: "strict" or "ignore", as for `Vocabulary.encode`.
        decode_errors: of bytes that are not UTF-8: "strict" or "replace", as for `read_chunks`.

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
    if errors not in ("strict", "ignore"):
        raise ValueError(
            f'errors must be "strict" or "ignore"; received {errors!r}; of bytes that are not UTF-8, type '
            'decode_errors="replace"'
        )
    dtype = np.min_scalar_type(len(vocabulary) - 1)
    ids_name = Path(ids_name)
    if ids_name.exists() and Path(name).exists() and ids_name.samefile(name):
        raise ValueError(
            f"the ids cannot replace the text that they are made of; received {quoted_path(name)} for both; give another file"
        )
    if not ids_name.parent.is_dir():
        raise FileNotFoundError(f"no directory {str(ids_name.parent)!r} to write {ids_name.name} to")

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
        # What has a number comes from the system, about the file that is written: `TextFile` says itself what is wrong.
        if error.errno is None:
            raise
        raise OSError(f"{quoted_path(ids_name)} cannot be written: {error.strerror}") from error
    return np.load(ids_name, mmap_mode="r")


def _encoded(name, vocabulary, errors, decode_errors):
    """Yields the ids of one part of the file after the other."""
    lines = 1
    for part in read_chunks(name, decode_errors):
        try:
            yield vocabulary.encode(part, errors)
        except UnknownTokenError as error:
            line = lines + part.count("\n", 0, error.position)
            raise ValueError(
                f"{quoted_path(name)}: {error.token} in line {line} is not in the vocabulary of {len(vocabulary)} tokens; "
                'type errors="ignore" to drop it, or Vocabulary.from_text(read_chunks(name))'
            ) from None
        lines += part.count("\n")


def _write_header(file, dtype, length):
    # NumPy leaves room in a header for the first dimension to grow to any length: both headers have the same size.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)


def _marked(file):
    encoding = bom_encoding(file.begin)
    typed, made = _conversion(file.name, encoding)
    return ValueError(
        f"{quoted_path(file.name)} begins with the byte order mark of {encoding.upper()}; type {typed} and load {made}"
    )


def _not_utf8(file, error):
    # The bytes that the decoder could not take are the last ones that were read.
    offset = file.offset - len(error.object) + error.start
    typed, made = _conversion(file.name, likely_encoding(file.begin))
    return ValueError(
        f"{quoted_path(file.name)} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset}, "
        f"line {file.line(offset, CHUNK)}; type {typed} (with the encoding that it has) and load {made}, "
        'or errors="replace" to read U+FFFD in such places'
    )


def _conversion(name, encoding):
    """What to type, and the file that it makes, which is never the one that it reads."""
    made = "utf8.txt" if Path(name).name != "utf8.txt" else "utf8-2.txt"
    return f"iconv -f {encoding} -t utf-8 {quoted_path(name)} > {made}", made

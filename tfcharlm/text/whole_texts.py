"""Texts as strings: what a person types, each text of it as a whole."""

import contextlib
import os
from collections.abc import Sequence

from tfcharlm.text.sources import find_sources, standard_input_file
from tfcharlm.text.text_file import quoted_path


def load_texts(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], errors: str = "strict"
) -> list[tuple[str, str]]:
    """The texts of what `split_corpus` takes, as strings, which must fit into memory.

    Args:
        sources: names of corpora, paths of files, which may be compressed, directories, patterns, and "-" for standard
            input; one or several.
        errors: what to do with bytes that are not UTF-8: "strict" (default) or "replace", as in `read_chunks`.

    Returns:
        A list of `(name, text)`. Files without text that were found in a directory are left out.

    Raises:
        ImportError: the package that has a corpus is not installed.
        OSError: a source does not exist, cannot be read, or changes while it is read.
        ValueError: a source is empty or not UTF-8.

    Example:

    >>> import gzip, pathlib, tempfile
    >>> from tfcharlm.text import load_texts
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("to be")
    >>> _ = (folder / "b.txt.gz").write_bytes(gzip.compress(b"or not"))
    >>> [text for name, text in load_texts(folder)]
    ['to be', 'or not']
    """
    with contextlib.ExitStack() as stack:
        found, _ = find_sources(sources, lambda: stack.enter_context(standard_input_file()))
        texts = []
        for source in found:
            text = "".join(source.parts(errors))
            if text and not text.isspace():
                texts.append((source.name, text))
            elif source.is_listed:
                raise ValueError(f"{source.quoted} has no text: {'nothing but white space' if text else 'it is empty'}")
    if not texts:
        raise ValueError(f"{quoted_path(found[0].name)} has no text; give a directory or a pattern that has some.")
    return texts

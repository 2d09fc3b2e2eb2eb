"""The prompt of `tfcharlm sample`: typed, from a file or from standard input."""

import codecs
import sys

from tfcharlm.text import read_chunks


def read_prompt(prompt: str | None, file: str | None, errors: str) -> str:
    """The text to continue.

    Args:
        prompt: what was typed; None for nothing. There is no file then.
        file: path of a file in UTF-8, "-" for standard input; None for neither.
        errors: what to do with bytes that are not UTF-8: "strict" or "replace".

    Returns:
        The prompt, "" if there is neither. Of a file, lines end in a line feed and a byte order mark is removed, as in
        a corpus; a final newline stays.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8.
    """
    if file is None:
        return prompt or ""
    return _standard_input(errors) if file == "-" else "".join(read_chunks(file, errors))


def _standard_input(errors):
    if sys.stdin is None:
        raise ValueError("--prompt-file - needs a standard input, which is closed; give a file or --prompt.")
    raw = sys.stdin.buffer.read().removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"--prompt-file - must be UTF-8; received byte 0x{raw[error.start]:02x} at offset {error.start:,}; type "
            "--errors replace to read U+FFFD there."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")

"""JSON that anybody may have written: its size is known before it is parsed, and it has only one form."""

import json
import re
from typing import Any

# A string, or what holds values together. Possessive, and with an end for every beginning: otherwise many quotation
# marks would take quadratic time.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[][{},:]', re.DOTALL)
# A configuration has a few hundred keys, about ten deep. A vocabulary has at most 2^20 tokens.
MAX_KEYS, MAX_DEPTH, MAX_VALUES = 10_000, 30, 2**20 + 10_000


def parse_json(content: bytes) -> Any:
    """Parses strict JSON: UTF-8, no key twice, neither NaN nor Infinity.

    Args:
        content: the bytes of a file.

    Returns:
        The value.

    Raises:
        ValueError: it is not strict JSON, or has more than 30 levels, 10,000 keys or about a million values. Its size
            is checked before any value is made.
    """
    _check_size(content)

    def unique(pairs):
        made = dict(pairs)
        if len(made) < len(pairs):
            keys = set()
            # `add` returns None, so this is the first key that was there already.
            twice = next(key for key, _ in pairs if key in keys or keys.add(key))
            raise ValueError(f"the key {twice!r:.60} occurs twice")
        return made

    def refuse(constant):
        raise ValueError(f"{constant} is not a number in JSON")

    return json.loads(content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


def write_json(value: Any, ascii_only: bool = False) -> bytes:
    """The only form in which an export writes a value: sorted keys, one value in a line."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=ascii_only).encode()


def _check_size(content):
    depth = keys = values = strings = 0
    for token in TOKEN.finditer(content):
        kind = content[token.start()]
        if kind in b"[{":
            depth += 1
        elif kind in b"]}":
            depth -= 1
        elif kind == ord(":"):
            keys += 1
        elif kind == ord(","):
            values += 1
        else:
            strings += 1
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if keys > MAX_KEYS or max(values, strings) > MAX_VALUES:
            raise ValueError("it has more values than the configuration of any model")

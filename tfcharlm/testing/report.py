"""What the checks found, as a table that a person reads."""

import re
import textwrap
from dataclasses import dataclass

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
NAME_WIDTH, LINE_WIDTH = 16, 120


class MismatchError(Exception):
    """What a check raises: what it received, what it expected, and where to look."""

    def __init__(self, received, expected, hint):
        super().__init__(f"received {received}; expected {expected}")
        self.received, self.expected, self.hint = received, expected, hint


@dataclass(frozen=True)
class Result:
    """One check: its name, "ok", "FAILED" or "skipped", what it is about, a note or None, an exception or None."""

    name: str
    status: str
    about: str = ""
    note: str | None = None
    error: Exception | None = None

    def __str__(self):
        details = {}
        if self.note:
            details = {"note": self.note}
        elif isinstance(self.error, MismatchError):
            details = {"received": self.error.received, "expected": self.error.expected, "look at": self.error.hint}
        elif self.error:
            details = {"raised": f"{type(self.error).__name__}: {shortened(self.error)}"}
        line = f"{self.status:8} {self.name:{NAME_WIDTH}} {self.about}"
        return "\n".join([line, *(_indented(label, what) for label, what in details.items())])


@dataclass(frozen=True)
class CheckReport:
    """The results of all checks of one cell, in the order in which they ran; `str` gives the table.

    Example:

    >>> print(tfcharlm.testing.CheckReport("Cell", (tfcharlm.testing.Result("rows", "ok", "rows are independent"),)))
    Cell: 1 check passed
    ok       rows             rows are independent
    """

    title: str
    results: tuple[Result, ...]

    def __getitem__(self, name):
        """The result of the check of this name."""
        return {result.name: result for result in self.results}[name]

    def names(self, status):
        """The names of the checks that ended so: "ok", "FAILED" or "skipped"."""
        return [result.name for result in self.results if result.status == status]

    @property
    def failed(self):
        """The names of the checks that failed."""
        return self.names(FAILED)

    def __str__(self):
        passed, failed, skipped = (len(self.names(status)) for status in (OK, FAILED, SKIPPED))
        counts = [f"{passed} {'check' if passed == 1 else 'checks'} passed"]
        counts = [f"{failed} failed"] * (failed > 0) + counts + [f"{skipped} skipped"] * (skipped > 0)
        return "\n".join([f"{self.title}: {', '.join(counts)}", *map(str, self.results)])


class CellError(AssertionError):
    """A cell has failed a check: the message is the report, and `report` holds it."""

    def __init__(self, report):
        super().__init__(str(report))
        self.report = report


def shortened(error, length=400):
    """The message of an exception as one line; those of TensorFlow fill a screen, some in bold type."""
    return textwrap.shorten(re.sub(r"\x1b\[\d*m", "", str(error)), length, placeholder=" ...")


def _indented(label, text):
    margin = " " * 9
    return textwrap.fill(
        f"{label + ':':10}{text}", LINE_WIDTH, initial_indent=margin, subsequent_indent=margin + " " * 10
    )

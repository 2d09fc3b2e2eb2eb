"""The results of the checks, as a readable table."""

import re
import textwrap
from dataclasses import dataclass
from typing import Any

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
NAME_WIDTH, LINE_WIDTH = 16, 120


class MismatchError(Exception):
    """Raised by a check: what it received, what it expected, and where to look for the cause."""

    def __init__(self, received: Any, expected: Any, hint: str) -> None:
        super().__init__(f"received {received}; expected {expected}")
        self.received, self.expected, self.hint = received, expected, hint


@dataclass(frozen=True)
class Result:
    """The result of one check; `str` makes the lines of the table.

    Args:
        name: name of the check.
        status: "ok", "FAILED" or "skipped".
        about: what is checked, in a line.
        note: a remark on a check that passed, or None.
        error: the exception of a check that failed, or None.

    Example:

    >>> from tfcharlm.testing import Result
    >>> print(Result("rows", "skipped", "because call did not pass"))
    skipped  rows             because call did not pass
    """

    name: str
    status: str
    about: str = ""
    note: str | None = None
    error: Exception | None = None

    def __str__(self) -> str:
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
    """The results of all checks of a cell, in the order in which they ran; `str` makes the table.

    Args:
        title: title of the table.
        results: one `Result` for each check.

    Example:

    >>> from tfcharlm.testing import CheckReport, Result
    >>> print(CheckReport("Cell", (Result("rows", "ok", "rows are independent"),)))
    Cell: 1 check passed
    ok       rows             rows are independent
    """

    title: str
    results: tuple[Result, ...]

    def __getitem__(self, name: str) -> Result:
        """The result of the check with this name."""
        return {result.name: result for result in self.results}[name]

    def names(self, status: str) -> list[str]:
        """The names of the checks with this status: "ok", "FAILED" or "skipped"."""
        return [result.name for result in self.results if result.status == status]

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return self.names(FAILED)

    def __str__(self) -> str:
        passed, failed, skipped = (len(self.names(status)) for status in (OK, FAILED, SKIPPED))
        counts = [f"{passed} {'check' if passed == 1 else 'checks'} passed"]
        counts = [f"{failed} failed"] * (failed > 0) + counts + [f"{skipped} skipped"] * (skipped > 0)
        return "\n".join([f"{self.title}: {', '.join(counts)}", *map(str, self.results)])


class CellError(AssertionError):
    """Raised if a cell has failed a check. Its message is the table, its attribute `report` the `CheckReport`."""

    def __init__(self, report: CheckReport) -> None:
        super().__init__(str(report))
        self.report = report


def shortened(error: Exception, length: int = 400) -> str:
    """The message of an exception in one line. Messages of TensorFlow can fill a screen, some in bold type."""
    return textwrap.shorten(re.sub(r"\x1b\[\d*m", "", str(error)), length, placeholder=" ...")


def _indented(label, text):
    margin = " " * 9
    return textwrap.fill(
        f"{label + ':':10}{text}", LINE_WIDTH, initial_indent=margin, subsequent_indent=margin + " " * 10
    )

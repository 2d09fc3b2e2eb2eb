"""Values of arguments: which numbers are accepted, and errors that say what was expected and what was received."""

import dataclasses
import math
import numbers
import operator
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The numbers that an argument may be. A bool is not a number here, and NaN and infinity are outside all bounds.

    Args:
        low: the smallest number that is accepted; None (default) for no limit.
        high: the largest number that is accepted; None (default) for no limit.
        above: a number that the argument must exceed; None (default) for no limit.
        below: a number that the argument must stay below; None (default) for no limit.
        whole: whether only integers are accepted, of Python, NumPy or TensorFlow; False by default.

    Example:

    >>> from tfcharlm.checks import Bounds
    >>> print(Bounds(low=0, below=1))
    a number from 0 to below 1
    >>> Bounds(low=1, whole=True).check("rows", 0)
    Traceback (most recent call last):
    ValueError: rows must be a whole number from 1 up; received 0.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False

    def __str__(self) -> str:
        limits = []
        if self.low is not None:
            limits.append(f"from {self.low}" + ("" if self.high is not None or self.below is not None else " up"))
        if self.above is not None:
            limits.append(f"above {self.above}" + (" and" if self.high is not None or self.below is not None else ""))
        if self.high is not None:
            limits.append(f"{'to' if self.low is not None else 'at most'} {self.high}")
        if self.below is not None:
            limits.append(f"{'to below' if self.low is not None else 'below'} {self.below}")
        return " ".join(["a whole number" if self.whole else "a number", *limits])

    def __contains__(self, value: object) -> bool:
        number = plain_number(value)
        if number is None or (self.whole and not isinstance(number, int)):
            return False
        return (
            (isinstance(number, int) or math.isfinite(number))
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def check(self, name: str, value: object, advice: str = "") -> Any:
        """The value as a plain int or float.

        Args:
            name: the name of the argument.
            value: the value that was passed.
            advice: an addition to what was expected, such as ", or None for all"; empty by default.

        Returns:
            An int for an integer, else a float.

        Raises:
            ValueError: the value is not within the bounds. The message says what was expected and what was received.
        """
        if value not in self:
            raise ValueError(f"{name} must be {self}{advice}; received {short_repr(value)}.")
        return plain_number(value)


def plain_number(value: object) -> int | float | None:
    """A number as an int or a float; None for anything else, including a bool.

    It may be a number of Python or NumPy, or an array, tensor or variable without axes.
    """
    number = without_axes(value)
    if isinstance(number, bool | np.datetime64 | np.timedelta64):
        return None
    try:
        return operator.index(number)  # type: ignore[arg-type]
    except (TypeError, AttributeError):  # what TensorFlow raises for a string
        pass
    try:
        return float(number) if isinstance(number, numbers.Real) else None
    except OverflowError:
        return None


def one_line(text: object, limit: int = 300) -> str:
    """A message in one line, so that the content of a file or an argument cannot flood a terminal.

    Args:
        text: a string or an exception.
        limit: the most characters. Of a longer message the middle of long words, such as paths, is left out first, and
            then its own middle. 300 by default, four lines of a terminal.

    Returns:
        The text with single spaces and without line breaks.

    Example:

    >>> from tfcharlm.checks import one_line
    >>> one_line("to be,\\n  or not to be", limit=16)
    'to be, ... to be'
    """
    # Only the ends are shown, so only they are looked at.
    text = str(text)
    ends = text if len(text) <= 4 * limit else f"{text[: 2 * limit]} {text[-2 * limit :]}"
    line = " ".join(ends.split())
    if len(line) > limit:
        line = " ".join(word if len(word) <= 80 else f"{word[:38]}...{word[-38:]}" for word in line.split())
    if len(line) <= limit and ends is text:
        return line
    end = (limit - 5) // 2
    return f"{line[: limit - 5 - end].rstrip()} ... {line[-end:].lstrip()}"


def about(subject: object, message: object, limit: int = 300) -> str:
    """`<subject> <message>` in one line, of which a long subject, such as a path, gives way first.

    Example:

    >>> from tfcharlm.checks import about
    >>> about("saved_models/" + "very/" * 20 + "deep", "is not a model.", limit=40)
    'saved_mode ... very/deep is not a model.'
    """
    message = one_line(message, limit * 3 // 4)
    return f"{one_line(subject, limit - 1 - len(message))} {message}"


def without_axes(value: object) -> object:
    """What an array, tensor or variable without axes contains; any other value as it is.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.checks import without_axes
    >>> without_axes(np.array("To be")), without_axes([3])
    ('To be', [3])
    """
    if not hasattr(value, "__array__") or getattr(value, "shape", None) is None:
        return value
    try:
        # The __array__ of a scalar tensor does not always return an array.
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        # NumPy does not know bfloat16 as a number, and would make plain integers of dates.
        array = array.astype(np.float64) if array.dtype.name == "bfloat16" else array
        return array.item() if array.ndim == 0 and array.dtype.kind not in "mM" else value
    except Exception:
        # A tensor of a graph has no value yet.
        return value


def short_repr(value: object, length: int = 80) -> str:
    """A value in an error message: its `repr` in one line of at most `length` characters.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.checks import short_repr
    >>> short_repr(np.eye(2)), short_repr("to be or not to be", length=12)
    ('array([[1., 0.], [0., 1.]])', "'to be or...")
    """
    try:
        line = " ".join(repr(value).split())
    except Exception:
        # Python does not write integers of more than 4,300 digits, for example.
        line = f"a value of type {type(value).__name__}"
    return line if len(line) <= length else line[: length - 3] + "..."


POSITIVE_INTEGER = Bounds(low=1, whole=True)
POSITIVE = Bounds(above=0)
FRACTION = Bounds(low=0, below=1)
SEED = Bounds(low=0, high=2**63 - 1, whole=True)

"""check_cell: a table of checks. Each is a function of a CellUnderTest that raises if the cell fails it."""

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

from tfcharlm.testing import contract, gradients, serialization, wrapping
from tfcharlm.testing.cell_under_test import CellUnderTest
from tfcharlm.testing.report import FAILED, OK, SKIPPED, CellError, CheckReport, Result


@dataclass(frozen=True)
class Check:
    """A check.

    Args:
        function: takes a `CellUnderTest`, raises if the cell fails, and returns a note or None. Its docstring is the
            line that the report shows.
        needs: names of the checks that must pass first, because without them this one means nothing.
    """

    function: Callable[[CellUnderTest], str | None]
    needs: tuple[str, ...] = ()


STEP = ("copy", "call")
CHECKS: dict[str, Check] = {
    "attributes": Check(contract.attributes),
    "config": Check(serialization.config),
    "copy": Check(serialization.copy),
    "rebuilt": Check(serialization.rebuilt, ("copy",)),
    "saving": Check(serialization.saving, ("config", "copy")),
    "call": Check(contract.call_shapes, ("attributes", "copy")),
    "initial state": Check(contract.initial_state, ("attributes", "copy")),
    "dtype": Check(contract.dtype_policy, STEP),
    "hidden state": Check(contract.hidden_state, STEP),
    "state returned": Check(contract.state_returned, STEP),
    "state used": Check(contract.state_used, STEP),
    "rows": Check(contract.rows, STEP),
    "weights read": Check(gradients.weights_read, STEP),
    "graph": Check(gradients.graph, STEP),
    "gradients": Check(gradients.gradients, (*STEP, "dtype")),
    "sequence": Check(wrapping.sequence, STEP),
    "masks": Check(wrapping.masks, STEP),
    "wrappers": Check(wrapping.wrappers, STEP),
    "training": Check(wrapping.training, STEP),
    "reference_cell": Check(wrapping.reference_cell, STEP),
}


def check_cell(cell: Any, reference_cell: Any = None, input_dim: int | None = None, seed: int = 0) -> CheckReport:
    r"""Checks a Keras RNN cell: its contract, serialization, masks, gradients, and its use in `tfcharlm.RNN`.

    The checks work on copies, made by `from_config(get_config())`, with random weights near the initial ones. Most run
    in float64, or in float32 if the cell cannot compute in float64. The cell itself is neither built nor changed. All
    checks run, even if one has failed; a check is skipped only if a failure makes it meaningless.

    - config, copy, rebuilt, saving: the configuration holds every argument, and makes a cell with the same results.
    - attributes, call, initial state, dtype: sizes, shapes and dtypes are those that wrappers expect.
    - hidden state, state returned, state used: the state is passed in and returned, and is kept nowhere else.
    - rows, graph, training: rows are independent, compiled calls agree with eager ones, dropout acts in training only.
    - weights read: no weight is turned into a constant by `build` or by the first call.
    - gradients: along a random direction u in each weight w, in the inputs and in the initial states, over three steps,
      $$ \langle \nabla L, u \rangle = \frac{L(w + \epsilon u) - L(w - \epsilon u)}{2 \epsilon} $$
    - sequence, masks, wrappers: `keras.layers.RNN` over a sequence, a loop over single calls, and `tfcharlm.RNN` agree
      in outputs, states and gradients, whatever values the padding has.
    - reference_cell: a reference cell with the same weights agrees, too.

    Args:
        cell: a `keras.layers.Layer` with `state_size`. Give every argument a value other than its default, because a
            key that is missing in the configuration comes back as the default. If the cell is built, its results are
            compared with those of a rebuilt cell, too.
        reference_cell: a cell whose weights have the same shapes and the same meaning, such as `keras.layers.LSTMCell`
            for an LSTM cell of your own. No other check can find swapped gates. None (default) skips this check.
        input_dim: size of the inputs. None (default) takes the one that the cell was built for, or 7 for a cell that is
            not built, because few cells have another size of 7.
        seed: seed of weights and data. No check depends on luck, except at the kink of an activation such as ReLU.

    Returns:
        A `CheckReport`: `str(report)` is a table, `report["gradients"]` is the result of one check.

    Raises:
        CellError: a check has failed. It is an `AssertionError`; its message is the table, its attribute `report` the
            `CheckReport`.
        TypeError: `cell` or `reference_cell` is not a cell.
        ValueError: `input_dim` is not the size that the cell was built for.

    Example:

    >>> import keras
    >>> import tfcharlm
    >>> cell, reference_cell = tfcharlm.LSTMCell(3, use_bias=False), keras.layers.LSTMCell(3, use_bias=False)
    >>> report = tfcharlm.testing.check_cell(cell, reference_cell)
    >>> report.failed
    []

    A cell that computes a new state but returns the old one:

    >>> class Forgetful(tfcharlm.RNNCell):
    ...     def call(self, inputs, states, training=False):
    ...         output, _ = super().call(inputs, states)
    ...         return output, states
    >>> try:
    ...     tfcharlm.testing.check_cell(Forgetful(3))
    ... except tfcharlm.testing.CellError as error:
    ...     print(error.report["state returned"])
    FAILED   state returned   every returned state is a new one
             received: state 0 unchanged after two steps
             expected: a state that changes with random inputs
             look at:  the states that call returns, which must be the new ones

    Reference: Maclaurin, Duvenaud & Adams (2015), Autograd: effortless gradients in NumPy, for the directional check.
    """
    for name, one in (("cell", cell), ("reference_cell", reference_cell)):
        if one is not None or name == "cell":
            _require_cell(name, one)
    subject = CellUnderTest(cell, input_dim, seed, reference_cell)
    with _seeded_initializers(seed):
        results = _run(subject)
    title = f"check_cell({type(cell).__name__} {cell.name!r}, input_dim={subject.input_dim}, seed={seed})"
    report = CheckReport(title, tuple(results))
    if report.failed:
        raise CellError(report) from next(result.error for result in results if result.error)
    return report


def _run(subject: CellUnderTest) -> Iterable[Result]:
    results: dict[str, Result] = {}
    for name, check in CHECKS.items():
        if name == "reference_cell" and subject.reference_cell is None:
            continue
        missing = [other for other in check.needs if results[other].status != OK]
        if missing:
            results[name] = Result(name, SKIPPED, f"because {missing[0]} did not pass")
            continue
        results[name] = _result(name, check, subject)
        if name == "dtype" and results[name].status == FAILED:
            subject.dtype = "float32"
    return results.values()


def _result(name: str, check: Check, subject: CellUnderTest) -> Result:
    about = check.function.__doc__ or ""
    subject.restart()
    try:
        note = check.function(subject)
    except Exception as error:  # whatever the cell raises is a finding
        return Result(name, FAILED, about, error=error)
    return Result(name, OK, about, note)


def _require_cell(name, cell):
    if isinstance(cell, keras.layers.RNN):
        raise TypeError(f"{name} must be a cell; received the layer {type(cell).__name__}. Give its cell: layer.cell.")
    if not isinstance(cell, keras.layers.Layer) or not hasattr(cell, "state_size"):
        raise TypeError(
            f"{name} must be a keras.layers.Layer with state_size, such as tfcharlm.LSTMCell(5); received {cell!r}."
        )


@contextlib.contextmanager
def _seeded_initializers(seed: int) -> Iterator[None]:
    """Seeds Python's random generator, from which Keras's initializers draw their seeds; restores it at the end."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)

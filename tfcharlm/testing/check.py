"""check_cell: a table of checks, each of which is a function of a CellUnderTest that raises when something is wrong."""

import contextlib
import random
from dataclasses import dataclass

import keras

from tfcharlm.testing import contract, gradients, serialization, wrapping
from tfcharlm.testing.cell_under_test import CellUnderTest
from tfcharlm.testing.report import FAILED, OK, SKIPPED, CellError, CheckReport, Result


@dataclass(frozen=True)
class Check:
    """A function whose docstring says what is checked, and the checks without which it means nothing."""

    function: object
    needs: tuple[str, ...] = ()


STEP = ("copy", "call")
CHECKS = {
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


def check_cell(cell, reference_cell=None, input_dim=None, seed=0):
    r"""Checks a Keras RNN cell: its contract, serialization, masks, gradients, and the way through `tfcharlm.RNN`.

    Checks work on copies, `from_config(get_config())` with random weights near the initial ones, most of them in
    float64, or in float32 if the cell cannot do that; the cell itself is neither built nor given other weights. All
    run, even if one has failed, unless they would mean nothing:

    - config, copy, rebuilt, saving: the configuration holds every argument, and gives a cell with the same numbers.
    - attributes, call, initial state, dtype: sizes, shapes and dtypes are what wrappers expect.
    - hidden state, state returned, state used: the state is passed in and returned, and is nowhere else.
    - rows, graph, training: rows are independent, compiled calls are as eager ones, dropout is for training.
    - weights read: no weight is a constant since `build` or since the first call.
    - gradients: along a random direction u in each weight w, the inputs and the initial states, over three steps,
      $$ \langle \nabla L, u \rangle = \frac{L(w + \epsilon u) - L(w - \epsilon u)}{2 \epsilon} $$
    - sequence, masks, wrappers: `keras.layers.RNN` over a sequence, a loop over single calls and `tfcharlm.RNN` agree
      in outputs, states and gradients, whatever stands in the padding.
    - reference_cell: so does another cell with the same weights.

    Args:
        cell: a `keras.layers.Layer` with `state_size`, best with no argument at its default, because a key that the
            configuration lacks comes back as the default. A built cell also shows whether its numbers come back.
        reference_cell: None, or a cell whose weights have the same shapes and the same meaning, such as `keras.layers.LSTMCell`
            for a cell of one's own with its gates. Nothing else can see gates that are swapped.
        input_dim: size of the inputs; for a cell that is not built 7 by default, which few cells have as another size.
        seed: of weights and data. No check depends on luck, except at the kink of an activation such as ReLU.

    Returns:
        A `CheckReport`: `str` gives a table, `report["gradients"]` the result of one check.

    Raises:
        CellError: a check has failed; an `AssertionError` whose message is the table and whose `report` is the report.
        TypeError: `cell` or `reference_cell` is no cell.
        ValueError: `input_dim` is not the one that the cell was built for.

    Example:

    >>> report = tfcharlm.testing.check_cell(LSTMCell(3, use_bias=False), reference_cell=keras.layers.LSTMCell(3, use_bias=False))
    >>> report.failed
    []

    A cell that computes a state and returns the old one:

    >>> class Forgetful(RNNCell):
    ...     def call(self, inputs, states, training=False):
    ...         output, _ = super().call(inputs, states)
    ...         return output, states
    >>> try:
    ...     tfcharlm.testing.check_cell(Forgetful(3))
    ... except tfcharlm.testing.CellError as error:
    ...     print(error.report["state returned"])
    FAILED   state returned   every state that comes back is a new one
             received: state 0 after two steps as it was before them
             expected: a state that has changed with random inputs
             look at:  the states that call returns: the new ones, not those that came in

    Reference: the directional gradient check is that of Autograd (Maclaurin, Duvenaud & Adams, 2015).
    """
    for name, one in (("cell", cell), ("reference_cell", reference_cell)):
        if one is not None or name == "cell":
            _require_cell(name, one)
    subject = CellUnderTest(cell, input_dim, seed, reference_cell)
    with _own_randomness(seed):
        results = _run(subject)
    title = f"check_cell({type(cell).__name__} {cell.name!r}, input_dim={subject.input_dim}, seed={seed})"
    report = CheckReport(title, tuple(results))
    if report.failed:
        raise CellError(report) from next(result.error for result in results if result.error)
    return report


def _run(subject):
    results = {}
    for name, check in CHECKS.items():
        if name == "reference_cell" and subject.reference_cell is None:
            continue
        missing = [other for other in check.needs if results[other].status != OK]
        if missing:
            results[name] = Result(name, SKIPPED, f"because of {missing[0]}")
            continue
        results[name] = _result(name, check, subject)
        if name == "dtype" and results[name].status == FAILED:
            subject.dtype = "float32"
    return results.values()


def _result(name, check, subject):
    about = check.function.__doc__
    subject.restart()
    try:
        note = check.function(subject)
    except Exception as error:  # whatever a stranger's cell raises is a finding
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
def _own_randomness(seed):
    """Initialisers draw their seeds from Python's generator: here from a seed, and nobody notices afterwards."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)

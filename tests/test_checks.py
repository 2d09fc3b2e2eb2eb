"""Numbers as arguments: every bound, and everything that is not a number."""

import decimal
import fractions
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcharlm.checks import FRACTION, POSITIVE, POSITIVE_INTEGER, SEED, Bounds, plain_number, short_repr

# Bounds; what is said of them; numbers that are within; numbers that are not.
TABLE = [
    (Bounds(), "a number", [0, -1.5, 10**400, -(10**400), 5e-324], []),
    (Bounds(whole=True), "a whole number", [0, -3, 10**400], [0.0, 1.5, 1e300]),
    (Bounds(low=2), "a number from 2 up", [2, 2.0, 10**400], [1, math.nextafter(2, 0), -(10**400)]),
    (Bounds(high=2), "a number at most 2", [2, 2.0, -(10**400)], [3, math.nextafter(2, 3), 10**400]),
    (Bounds(above=2), "a number above 2", [3, math.nextafter(2, 3), 10**400], [2, 2.0, 1]),
    (Bounds(below=2), "a number below 2", [1, math.nextafter(2, 0), -(10**400)], [2, 2.0, 3, 10**400]),
    (Bounds(low=1, high=3), "a number from 1 to 3", [1, 2.5, 3], [0, 4, math.nextafter(3, 4)]),
    (Bounds(low=0, below=1), "a number from 0 to below 1", [0, 0.5, math.nextafter(1, 0)], [-0.1, 1, 1.0]),
    (Bounds(above=0, high=1), "a number above 0 and at most 1", [5e-324, 1], [0, -0.0, 1.5]),
    (Bounds(above=0, below=1), "a number above 0 and below 1", [0.5], [0, 1]),
    (
        Bounds(low=1, below=2**31, whole=True),
        "a whole number from 1 to below 2147483648",
        [1, 2**31 - 1],
        [0, 2**31, 1.0],
    ),
]


@pytest.mark.parametrize(("bounds", "words", "inside", "outside"), TABLE, ids=[row[1] for row in TABLE])
def test_every_bound_holds_and_is_named(bounds, words, inside, outside):
    assert str(bounds) == words
    for value in inside:
        assert value in bounds
        assert bounds.check("x", value) is value or bounds.check("x", value) == value
    for value in outside:
        assert value not in bounds
        with pytest.raises(ValueError) as error:
            bounds.check("x", value)
        received = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        assert str(error.value) == f"x must be {words}; received {received}."


NOT_NUMBERS = [
    True, False, np.True_, None, "1", b"1", [1], (1,), {}, 1j, np.complex64(1), ..., decimal.Decimal(1), np.array(True),
    np.array("1"), np.array([1]), np.ones((1, 1)), np.array(None), np.datetime64(1, "s"), np.timedelta64(1, "ns"),
    tf.constant(True), tf.constant("1"), tf.constant([1]), keras.Input(()),
]  # fmt: skip
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf"), tf.constant(math.inf)]


@pytest.mark.parametrize("value", [*NOT_NUMBERS, *NOT_FINITE], ids=lambda value: repr(value)[:30])
def test_what_is_not_a_finite_number_is_within_no_bounds(value):
    for bounds in (Bounds(), Bounds(whole=True), Bounds(low=-5), Bounds(high=5), Bounds(above=-5), Bounds(below=5)):
        assert value not in bounds
        with pytest.raises(ValueError, match=r"^rate must be a (whole )?number"):
            bounds.check("rate", value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (3, 3),
        (2.5, 2.5),
        (np.int8(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.array(3), 3),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.5), 0.5),
        (np.array(0.5), 0.5),
        (np.array(3, object), 3),
        (tf.constant(3, tf.int64), 3),
        (tf.constant(2**64 - 1, tf.uint64), 2**64 - 1),
        (tf.constant(0.25), 0.25),
        (tf.constant(0.25, tf.bfloat16), 0.25),
        (tf.Variable(3), 3),
        (keras.Variable(0.25), 0.25),
        (fractions.Fraction(1, 4), 0.25),
        (10**400, 10**400),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_numbers_of_any_kind_become_an_int_or_a_float(value, plain):
    assert plain_number(value) == plain and type(plain_number(value)) is type(plain)
    checked = Bounds().check("x", value)
    assert checked == plain and type(checked) is type(plain)
    assert (value in Bounds(whole=True)) == isinstance(plain, int)


def test_a_fraction_that_no_float_holds_is_not_a_number_here():
    """Its float would overflow, which must be a line and no OverflowError."""
    huge = fractions.Fraction(10**400, 3)
    assert plain_number(huge) is None and huge not in Bounds(low=0)


def test_the_line_says_what_to_type_and_is_short():
    with pytest.raises(ValueError) as error:
        Bounds(low=1).check("top_k", -(10**200), advice=", or None for all")
    assert str(error.value).startswith("top_k must be a number from 1 up, or None for all; received -1000")
    assert len(str(error.value)) < 160


def test_a_value_in_an_error_is_one_short_line():
    class Unwritable:
        def __repr__(self):
            raise RuntimeError

    assert short_repr(np.ones((2, 2))) == "array([[1., 1.], [1., 1.]])"
    assert short_repr("to be", 5) == "'t..." and short_repr("to be", 7) == "'to be'"
    assert short_repr(10**5000) == "a value of type int" and short_repr(Unwritable()) == "a value of type Unwritable"
    assert len(short_repr(list(range(1000)))) == 80


def test_the_bounds_that_have_names():
    assert (1 in POSITIVE_INTEGER, 0 in POSITIVE_INTEGER, 1.0 in POSITIVE_INTEGER) == (True, False, False)
    assert (5e-324 in POSITIVE, 0 in POSITIVE) == (True, False)
    assert (0 in FRACTION, 1 in FRACTION, 0.999 in FRACTION) == (True, False, True)
    assert (0 in SEED, 2**63 - 1 in SEED, 2**63 in SEED, -1 in SEED) == (True, True, False, False)

"""Arguments of any usual type: the result is the one for Python's own strings and numbers, or the error is one line."""

import decimal
import enum
import fractions
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcharlm.generation import Sampling


class Name(str, enum.Enum):  # noqa: UP042, a StrEnum is its own `str`
    """A string whose `str` is something else."""

    AB = "ab"


def in_graph(value):
    """The value as a tensor that has no value yet."""
    kept = []
    tf.function(lambda x: kept.append(x) or x, autograph=False).get_concrete_function(tf.constant(value))
    return kept[0]


ONE_TEXT = {
    "NumPy string": np.str_("ab"),
    "string of a subclass": Name.AB,
    "array without axes": np.array("ab"),
    "object array without axes": np.array("ab", object),
    "tensor": tf.constant("ab"),
    "variable": tf.Variable("ab"),
}
TWO_TEXTS = {
    "tuple": ("ab", "cé"),
    "array": np.array(["ab", "cé"]),
    "object array": np.array(["ab", "cé"], object),
    "array of NumPy's variable strings": np.array(["ab", "cé"], np.dtypes.StringDType()),
    "NumPy strings": [np.str_("ab"), np.str_("cé")],
    "tensor": tf.constant(["ab", "cé"]),
    "what a data set yields": list(tf.data.Dataset.from_tensor_slices(["ab", "cé"])),
    "arrays without axes": [np.array("ab"), np.array("cé")],
}
NO_TEXTS = {
    "None": None,
    "number": 5,
    "bytes": b"ab",
    "bytearray": bytearray(b"ab"),
    "array of bytes": np.array([b"ab"]),
    "object array of bytes": np.array([b"ab"], object),
    "array of numbers": np.ones(3),
    "array with two axes": np.array([["ab"]]),
    "tensor with two axes": tf.constant([["ab"]]),
    "ragged tensor": tf.ragged.constant([["ab"], []]),
    "tensor of numbers": tf.constant([1, 2]),
    "tensor that is not UTF-8": tf.constant([b"\xff"]),
    "tensor of a graph": in_graph("ab"),
    "symbolic input of Keras": keras.Input((), dtype="string"),
    "generator": (text for text in ["ab"]),
    "dictionary": {"ab": 1},
    "set": {"ab"},
    "list with None": ["ab", None],
    "missing value": np.array(["ab", np.nan], object),
    "list of lists": [["ab"]],
    "a large array": np.ones((100, 100)),
}


def check_one_line(error, beginning):
    """An error of ours that fits on a screen."""
    message = str(error.value)
    assert message.startswith(beginning) and "\n" not in message and len(message) <= 300, message


@pytest.mark.parametrize("name", ONE_TEXT)
def test_one_text_of_any_type(model, name):
    text, arguments = ONE_TEXT[name], {"max_length": 5, "seed": 3}
    result = model.generate(text, **arguments)
    assert result == model.generate("ab", **arguments) and type(result) is str
    assert list(model.stream(text, **arguments)) == list(model.stream("ab", **arguments))
    assert model.score(text) == model.score("ab")
    assert model.token_log_probabilities(text).tolist() == model.token_log_probabilities("ab").tolist()
    assert model.next_token_probabilities(text) == model.next_token_probabilities("ab")
    beams = model.beam_search(text, max_length=2, beams=2)
    assert beams == model.beam_search("ab", max_length=2, beams=2) and all(type(text) is str for text, _ in beams)
    stopped = model.generate("d", max_length=60, seed=3, stop=text)
    assert stopped == model.generate("d", max_length=60, seed=3, stop="ab")


@pytest.mark.parametrize("name", TWO_TEXTS)
def test_several_texts_of_any_type(model, name):
    texts, plain = TWO_TEXTS[name], ["ab", "cé"]
    results = model.generate(texts, max_length=5, seed=3)
    assert results == model.generate(plain, max_length=5, seed=3) and all(type(text) is str for text in results)
    np.testing.assert_array_equal(model.score(texts)["log_probability"], model.score(plain)["log_probability"])
    stopped = model.generate("d", max_length=60, seed=3, stop=texts)
    assert stopped == model.generate("d", max_length=60, seed=3, stop=plain)


@pytest.mark.parametrize("name", NO_TEXTS)
def test_what_is_no_text_is_refused_in_one_line(model, name):
    value = NO_TEXTS[name]
    for call, argument in (
        (lambda: model.generate(value), "prompts must be "),
        (lambda: model.score(value), "texts must be "),
        (lambda: model.token_log_probabilities(value), "text must be "),
        (lambda: model.stream(value), "prompt must be "),
        (lambda: model.next_token_probabilities(value), "prompt must be "),
        (lambda: model.beam_search(value), "prompt must be "),
        (lambda: model.generate("a", stop=[] if value is None else value), "stop must be None, a string "),
    ):
        if argument.startswith("stop") and value is None:
            continue
        with pytest.raises(ValueError) as error:
            call()
        check_one_line(error, argument)


def test_a_list_of_one_is_no_prompt_of_a_stream(model):
    with pytest.raises(ValueError, match=r"^prompt must be a string; received \['ab'\]\.$"):
        model.stream(["ab"])
    with pytest.raises(ValueError, match=r"^text must be a string; received \['ab'\]\.$"):
        model.token_log_probabilities(["ab"])


@pytest.mark.parametrize("stop", [0, False, "", [""], ("a", ""), np.array(["a", ""]), {"a"}, b"a", 7], ids=repr)
def test_what_is_no_stop_string_is_refused(model, stop):
    with pytest.raises(ValueError) as error:
        model.generate("a", max_length=1, stop=stop)
    check_one_line(error, "stop must be None, a string or a list of strings, and none may be empty; received ")


@pytest.mark.parametrize("callback", [3, "print", [print]], ids=repr)
def test_a_callback_that_cannot_be_called_is_refused_before_any_text_is_made(model, callback):
    with pytest.raises(ValueError) as error:
        model.generate("a", max_length=1, callback=callback)
    check_one_line(error, "callback must be None or a function")


HALVES = {
    "NumPy": np.float32(0.5),
    "array": np.array(0.5),
    "tensor": tf.constant(0.5),
    "bfloat16": tf.constant(0.5, tf.bfloat16),
    "float64": tf.constant(0.5, tf.float64),
    "variable": tf.Variable(0.5),
    "variable of Keras": keras.Variable(0.5),
    "fraction": fractions.Fraction(1, 2),
    "object array": np.array(fractions.Fraction(1, 2)),
}
FIVES = {
    "NumPy": np.int8(5),
    "unsigned": np.uint64(5),
    "array": np.array(5),
    "tensor": tf.constant(5),
    "int64": tf.constant(5, tf.int64),
    "variable": keras.Variable(5, dtype="int32"),
}
NO_NUMBERS = {
    "bool": True,
    "NumPy bool": np.True_,
    "bool tensor": tf.constant(True),
    "string": "1",
    "string tensor": tf.constant("1"),
    "array with an axis": np.array([1]),
    "tensor with an axis": tf.constant([1]),
    "None": None,
    "nan": float("nan"),
    "nan of NumPy": np.float32("nan"),
    "nan tensor": tf.constant(float("nan")),
    "infinite": -float("inf"),
    "complex": 1j,
    "Decimal": decimal.Decimal(1),
    "negative": -1,
    "so long that Python does not write it": 10**5000,
    "duration": np.timedelta64(1, "s"),
    "a large array": np.ones((100, 100)),
    "tensor of a graph": in_graph(1),
    "symbolic input of Keras": keras.Input(()),
}


@pytest.mark.parametrize("name", HALVES)
def test_a_number_of_any_type(model, name):
    half, arguments = HALVES[name], {"max_length": 8, "seed": 3}
    cold, wild = model.generate("ab", temperature=0.5, **arguments), model.generate("ab", **arguments)
    assert model.generate("ab", temperature=half, **arguments) == cold != wild
    assert model.generate("ab", top_p=half, **arguments) == model.generate("ab", top_p=0.5, **arguments) != wild
    assert Sampling(half, 0, half).checked() == Sampling(0.5, 0, 0.5)


@pytest.mark.parametrize("name", FIVES)
def test_an_integer_of_any_type(model, name):
    five = FIVES[name]
    expected = model.generate(["ab", "c"], max_length=5, seed=5, top_k=5, samples=5)
    assert model.generate(["ab", "c"], max_length=five, seed=five, top_k=five, samples=five) == expected
    assert model.generate("ab", max_length=5, seed=[five]) == model.generate("ab", max_length=5, seed=5)
    assert model.beam_search("ab", five, five) == model.beam_search("ab", 5, 5)


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_number_is_refused_in_one_line(model, name):
    value = NO_NUMBERS[name]
    for argument in ("temperature", "top_p", "top_k", "max_length", "samples"):
        with pytest.raises(ValueError) as error:
            model.generate("a", **{"max_length": 1, argument: value})
        check_one_line(error, f"{argument} must be a ")
    for argument in ("max_length", "beams"):
        with pytest.raises(ValueError) as error:
            model.beam_search("a", **{argument: value})
        check_one_line(error, f"{argument} must be a ")
    for number in (value, 3.0, np.array(3.0), tf.constant(3.0), fractions.Fraction(3)):
        with pytest.raises(ValueError) as error:
            model.generate("a", max_length=number)
        check_one_line(error, "max_length must be a whole number from 0 to ")


SEEDS = {
    "range": range(7, 9),
    "tuple": (7, 8),
    "array": np.array([7, 8]),
    "unsigned": np.array([7, 8], np.uint8),
    "object array": np.array([7, 8], object),
    "tensor": tf.constant([7, 8]),
    "list of tensors": [tf.constant(7), tf.constant(8, tf.int64)],
    "one, without axes": np.array(7),
    "one tensor": tf.constant(7),
}


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_of_any_type(model, name):
    assert model.generate(["a", "b"], max_length=20, seed=SEEDS[name]) == model.generate(["a", "b"], 20, seed=7)


@pytest.mark.parametrize(
    "seed",
    [
        "12", b"12", bytearray(b"12"), {7: 1, 8: 2}, {7, 8}, itertools.count(), (n for n in (7, 8)), [7.0, 8.0],
        [7, True], np.array([7.0, 8.0]), np.array([[7, 8]]), tf.constant([7.0, 8.0]), [7], [7, 8, 9], [7, 2**63],
        [7, None], 2**63, 2**63 - 1, -(2**63) - 1, 10**5000, True, 7.0, float("nan"), np.arange(10_000), range(10**15),
        list(range(10_000)), object(),
    ],
    ids=lambda seed: type(seed).__name__,
)  # fmt: skip
def test_what_is_no_seed_is_refused_in_one_line(model, seed):
    with pytest.raises(ValueError) as error:
        model.generate(["a", "b"], max_length=1, seed=seed)
    check_one_line(error, "seed must be an integer of 64 bits, or a list of 2, one for each row; received ")

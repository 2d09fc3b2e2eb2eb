"""One long text as a stream of batches: what each row reads, where it starts, and what is drawn."""

import itertools
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcharlm.text import Vocabulary, line_dataset, stream_dataset

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(0, 90))


def _collect(dataset):
    """tokens, start, targets (and weights) with a leading axis of steps."""
    elements = [tf.nest.flatten(element) for element in dataset.as_numpy_iterator()]
    # tf.nest sorts the keys of the dictionary: start, tokens.
    start, tokens, *rest = (np.stack(column) for column in zip(*elements, strict=True))
    return tokens, start, *rest


def _text(length):
    """Ids that never repeat, so that an id names its position."""
    return np.arange(length, dtype=np.int32) + 100


def check_a_stream_is_a_cut_of_the_text(shape, epochs, seed):
    rows, length, more = shape
    ids = _text(rows * length + 1 + more)
    dataset = stream_dataset(ids, rows, length, seed=seed, epochs=epochs)
    tokens, start, targets = _collect(dataset)

    steps = (len(ids) - 1) // (rows * length)
    assert len(tokens) == dataset.cardinality() == epochs * steps
    spare = len(ids) - 1 - rows * steps * length
    for i in range(epochs):
        window = slice(i * steps, (i + 1) * steps)
        offset = tokens[i * steps, 0, 0] - 100
        assert 0 <= offset <= (spare if seed is not None else 0)
        for row in range(rows):
            begin = offset + row * steps * length
            stretch = ids[begin : begin + steps * length + 1]
            np.testing.assert_array_equal(tokens[window, row].ravel(), stretch[:-1])
            np.testing.assert_array_equal(targets[window, row].ravel(), stretch[1:])
        assert len(np.unique(tokens[window])) == tokens[window].size
        assert start[window].tolist() == [[step == 0] * rows for step in range(steps)]


STREAMS = given(shape=SHAPES, epochs=st.integers(1, 3), seed=st.none() | st.integers(0, 2**40))


@settings(max_examples=8, deadline=None)
@STREAMS
def test_a_stream_is_a_cut_of_the_text(shape, epochs, seed):
    check_a_stream_is_a_cut_of_the_text(shape, epochs, seed)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@STREAMS
def test_many_streams_are_cuts_of_their_texts(shape, epochs, seed):
    check_a_stream_is_a_cut_of_the_text(shape, epochs, seed)


@pytest.mark.slow
def test_resets_are_drawn_and_change_no_text():
    ids, numbers = _text(2000), {"batch_size": 5, "sequence_length": 3, "seed": 7, "epochs": 4}
    resets = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2))
    again = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2))
    tokens, _, targets = _collect(stream_dataset(ids, **numbers))
    for one, other in zip(resets, again, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(resets[0], tokens)
    np.testing.assert_array_equal(resets[2], targets)
    steps = len(tokens) // 4
    drawn = resets[1].reshape(4, steps, 5)
    assert drawn[:, 0].all() and np.mean(drawn[:, 1:]) == pytest.approx(0.2, abs=0.03)
    for axis in range(3):
        # Neither epochs, nor steps, nor rows are alike.
        one, other = np.take(drawn[:, 1:], 0, axis), np.take(drawn[:, 1:], 1, axis)
        assert not np.array_equal(one, other)
    late = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2).source.starting_at(steps + 2))
    np.testing.assert_array_equal(late[1], resets[1][steps + 2 :])
    fixed = _collect(stream_dataset(ids, **numbers, state_reset_probability=0.2, random_start=False))
    np.testing.assert_array_equal(fixed[1], resets[1])
    numbers.pop("seed")
    np.testing.assert_array_equal(fixed[0], _collect(stream_dataset(ids, **numbers))[0])
    documents = [ids[:900], ids[900:]]
    plain, reset = (
        np.stack(
            [
                x["start"]
                for x, *_ in stream_dataset(documents, 5, 3, seed=7, state_reset_probability=rate).as_numpy_iterator()
            ]
        )
        for rate in (0.0, 0.2)
    )
    ordered = [
        np.stack([x["tokens"] for x, *_ in stream_dataset(np.split(ids, 8), 5, 3, **drawn).as_numpy_iterator()])
        for drawn in ({"seed": 3, "random_start": False}, {})
    ]
    np.testing.assert_array_equal(*ordered)
    assert not np.any(plain & ~reset) and np.mean(reset & ~plain) == pytest.approx(0.2, abs=0.05)


def check_an_evaluation_has_every_target_once(shape, epochs):
    rows, length, more = shape
    ids = _text(2 + more)
    dataset = stream_dataset(ids, rows, length, epochs=epochs, drop_remainder=False)
    tokens, start, targets, weights = _collect(dataset)

    stretch = -(-(len(ids) - 1) // rows)
    steps = -(-stretch // length)
    assert len(tokens) == dataset.cardinality() == epochs * steps
    for i in range(epochs):
        window = slice(i * steps, (i + 1) * steps)
        seen = []
        for row in range(rows):
            real = weights[window, row].ravel() == 1
            expected = ids[row * stretch : (row + 1) * stretch + 1]
            np.testing.assert_array_equal(tokens[window, row].ravel()[real], expected[:-1])
            np.testing.assert_array_equal(targets[window, row].ravel()[real], expected[1:])
            assert not tokens[window, row].ravel()[~real].any()
            assert not targets[window, row].ravel()[~real].any()
            assert np.all(np.diff(real.astype(int)) <= 0)
            seen += targets[window, row].ravel()[real].tolist()
        assert seen == ids[1:].tolist()
        assert weights[window].sum() == len(ids) - 1
        assert start[window].tolist() == [[step == 0] * rows for step in range(steps)]


EVALUATIONS = given(shape=SHAPES, epochs=st.integers(1, 2))


@settings(max_examples=8, deadline=None)
@EVALUATIONS
def test_an_evaluation_has_every_target_once(shape, epochs):
    check_an_evaluation_has_every_target_once(shape, epochs)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@EVALUATIONS
def test_many_evaluations_have_every_target_once(shape, epochs):
    check_an_evaluation_has_every_target_once(shape, epochs)


def test_shapes_and_types_are_static():
    inputs = {
        "tokens": tf.TensorSpec((3, 5), tf.int32),
        "start": tf.TensorSpec((3,), tf.bool),
    }
    targets, weights = tf.TensorSpec((3, 5), tf.int32), tf.TensorSpec((3, 5), tf.float32)
    ids = np.arange(50, dtype=np.int64)
    for seed in (None, 7):
        assert stream_dataset(ids, 3, 5, seed=seed).element_spec == (inputs, targets)
    whole = stream_dataset(ids, 3, 5, drop_remainder=False)
    assert whole.element_spec == (inputs, targets, weights)


def test_offset_is_a_function_of_seed_and_epoch():
    ids = _text(100)
    # 99 targets make one window of 2 x 30, and 39 are to spare: 40 offsets.
    dataset = stream_dataset(ids, 2, 30, seed=3, epochs=400)
    first, again = _collect(dataset)[0], _collect(dataset)[0]
    np.testing.assert_array_equal(first, again)
    offsets = (first[:, 0, 0] - 100).tolist()
    assert set(offsets) == set(range(40))

    endless = stream_dataset(ids, 2, 30, seed=3, epochs=None)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    np.testing.assert_array_equal(_collect(endless.take(9))[0], first[:9])
    np.testing.assert_array_equal(_collect(endless.skip(200).take(9))[0], first[200:209])

    other = _collect(stream_dataset(ids, 2, 30, seed=4, epochs=400))[0]
    assert (other[:, 0, 0] - 100).tolist() != offsets


def test_endless_stream_starts_again_with_each_epoch():
    dataset = stream_dataset(_text(25), 2, 3, epochs=None).take(10)
    tokens, start, _ = _collect(dataset)
    assert start[:, 0].tolist() == [True, False, False, False] * 2 + [True, False]
    np.testing.assert_array_equal(tokens[4:8], tokens[:4])


@pytest.mark.parametrize(("tokens", "rows", "length"), [*itertools.product((2, 11), (4, 9), (3, 20))])
def test_short_text_names_sizes_that_fit(tokens, rows, length):
    needed = rows * length + 1
    with pytest.raises(ValueError, match=rf"^{tokens} tokens .* needs {needed};") as caught:
        stream_dataset(np.arange(tokens), rows, length)
    fit = re.search(r"type batch_size=(\d+), sequence_length=(\d+)$", str(caught.value))
    assert stream_dataset(np.arange(tokens), *map(int, fit.groups())).cardinality() >= 1


@pytest.mark.parametrize("ids", ["text", [0.5, 1.5], np.ones((1, 2), int), [True, False], None, 7])
def test_ids_must_be_flat_integers(ids):
    with pytest.raises(ValueError, match=r"Type vocabulary\.encode\(text\)\.$"):
        stream_dataset(ids, 1, 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up; received 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"sequence_length": -1}, "sequence_length"),
        ({"epochs": 0}, "epochs"),
        ({"seed": -1}, "seed must be a whole number from 0 "),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1, "drop_remainder": False}, "seed must be None with drop_remainder=False, .*; received 1"),
        ({"ids": np.arange(1)}, "2 tokens or more"),
        ({"ids": np.arange(1), "drop_remainder": False}, "2 tokens or more"),
    ],
)
def test_bad_stream_arguments(changed, message):
    arguments = {"ids": np.arange(50), "batch_size": 2, "sequence_length": 3}
    with pytest.raises(ValueError, match=message):
        stream_dataset(**(arguments | changed))


ARGUMENTS = [{}, {"seed": 9, "epochs": 3}, {"drop_remainder": False}]
DTYPES = [np.uint8, np.uint16, np.int32]


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        # Each argument and each dtype once.
        pytest.param(arguments, dtype, marks=[pytest.mark.slow] * (i != j))
        for i, arguments in enumerate(ARGUMENTS)
        for j, dtype in enumerate(DTYPES)
    ],
)
def test_mapped_ids_give_the_batches_of_memory(tmp_path, rng, arguments, dtype):
    ids = rng.integers(200, size=3000).astype(dtype)
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    for cut in (slice(None), slice(17, 2500), slice(1000, None, 3)):
        pairs = zip(
            stream_dataset(mapped[cut], 5, 13, **arguments), stream_dataset(ids[cut], 5, 13, **arguments), strict=True
        )
        for theirs, ours in pairs:
            for a, b in zip(tf.nest.flatten(theirs), tf.nest.flatten(ours), strict=True):
                assert a.shape == b.shape and a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_no_thread_tunes_a_data_set(rng):
    """It sleeps for up to a minute, and a process that ends waits for it."""
    ids = rng.integers(9, size=100)
    sets = [stream_dataset(ids, 2, 5), stream_dataset([ids, ids], 2, 5, seed=0, epochs=None)]
    sets += [line_dataset(["ab", "a"], Vocabulary("ab\n"), 2), sets[0].source.starting_at(3)]
    assert [dataset.options().autotune.enabled for dataset in sets] == [False] * 4

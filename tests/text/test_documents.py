"""Documents in rows: each read once from its start, in memory and on disk."""

import numpy as np
import pytest
from helpers.batches import check_every_document_is_read_once_from_its_start, elements
from hypothesis import given, settings
from hypothesis import strategies as st

import tfcharlm
from tfcharlm.text import Vocabulary, stream_dataset

DOCUMENTS = given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=9),
    rows=st.integers(1, 5),
    length=st.integers(1, 7),
    seed=st.none() | st.integers(0, 2**40),
)


@settings(max_examples=8, deadline=None)
@DOCUMENTS
def test_every_document_is_read_once_from_its_start(sizes, rows, length, seed):
    check_every_document_is_read_once_from_its_start(sizes, rows, length, seed)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@DOCUMENTS
def test_many_documents_are_read_once_from_their_starts(sizes, rows, length, seed):
    check_every_document_is_read_once_from_its_start(sizes, rows, length, seed)


def test_documents_come_in_an_order_of_their_own_in_every_epoch():
    documents = [np.array([10 * i, 10 * i + 1]) for i in range(30)]
    orders = []
    for seed in (None, 5, 5, 6):
        tokens = [batch[0][0, 0] // 10 for batch in elements(stream_dataset(documents, 1, 1, seed=seed, epochs=3))]
        orders.append(np.split(np.array(tokens), 3))
    assert np.array_equal(orders[0], [range(30)] * 3)
    assert np.array_equal(orders[1], orders[2])
    drawn = {tuple(order) for order in (*orders[1], *orders[3])}
    assert len(drawn) == 6 and all(sorted(order) == list(range(30)) for order in drawn)


def test_state_starts_again_with_every_document(rng, small_graphs):
    """`evaluate` over documents in rows gives the mean of each document by itself."""
    vocabulary = Vocabulary("abcdefg")
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(11)], embedding_dim=5)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile()
    documents = [rng.integers(7, size=size) for size in (19, 2, 8, 33, 5)]
    together = model.evaluate(stream_dataset(documents, 3, 4), return_dict=True, verbose=0)
    alone = [model.evaluate(stream_dataset([d], 1, 40), return_dict=True, verbose=0)["loss"] for d in documents]
    counts = [len(document) - 1 for document in documents]
    # Rows begin in the middle of a document where it is long: with one row there is no such position.
    one_row = model.evaluate(stream_dataset(documents, 1, 4), return_dict=True, verbose=0)
    np.testing.assert_allclose(one_row["loss"], np.average(alone, weights=counts), rtol=1e-6)
    assert together["loss"] != pytest.approx(one_row["loss"], rel=1e-6)


@pytest.mark.parametrize("documents", [[], [[1, 2], []], [[1, 2], ["a"]], [[1], [2, 3]], ["ab"]])
def test_bad_documents(documents):
    with pytest.raises(ValueError, match=r"^ids must be "):
        stream_dataset(documents, 1, 1)


def test_mapped_documents_give_the_batches_of_memory(tmp_path, rng):
    ids = rng.integers(200, size=900).astype(np.uint8)
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    cuts = [slice(0, 41), slice(41, 400), slice(400, 402), slice(402, 900)]
    mixed = [mapped[cuts[0]], ids[cuts[1]], mapped[cuts[2]], mapped[cuts[3]]]
    theirs = elements(stream_dataset(mixed, 4, 11, seed=3, epochs=2))
    ours = elements(stream_dataset([ids[cut] for cut in cuts], 4, 11, seed=3, epochs=2))
    assert len(theirs) == len(ours)
    for a, b in zip(theirs, ours, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)

"""Data sets of documents and lines beside plain Python."""

import numpy as np

from tfcharlm.text import Vocabulary, line_dataset, stream_dataset


def elements(dataset):
    """(tokens, start, targets, weights) of every batch, as arrays."""
    return [(x["tokens"], x["start"], y, w) for x, y, w in dataset.as_numpy_iterator()]


def rows_read(batches):
    """What each row of a data set has read: (start, tokens, targets, weights) of each of its windows."""
    for row in range(len(batches[0][0])):
        yield [(start[row], tokens[row], targets[row], weights[row]) for tokens, start, targets, weights in batches]


def check_every_document_is_read_once_from_its_start(sizes, rows, length, seed):
    ends = np.cumsum(sizes)
    documents = [np.arange(end - size, end) + 100 for end, size in zip(ends, sizes, strict=True)]
    dataset = stream_dataset(documents, rows, length, seed=seed, epochs=2)
    batches = elements(dataset)
    assert len(batches) == dataset.cardinality()
    steps = len(batches) // 2
    assert steps == -(-sum(-(-(size - 1) // length) for size in sizes) // rows)
    first_of = {document[0] for document in documents}
    for epoch in (batches[:steps], batches[steps:]):
        seen = []
        for row in rows_read(epoch):
            before = None
            for step, (start, tokens, targets, weights) in enumerate(row):
                real = weights == 1
                assert np.all(np.diff(real.astype(int)) <= 0) and np.all(real | (weights == 0))
                np.testing.assert_array_equal(targets[real], tokens[real] + 1)
                assert not tokens[~real].any() and not targets[~real].any()
                if not real.any():
                    assert not start or step == 0
                    continue
                assert start == (step == 0 or tokens[0] in first_of)
                if not start:
                    assert tokens[0] == before, "the row does not continue where it stopped"
                before = targets[real][-1]
                seen += targets[real].tolist()
        assert sorted(seen) == sorted(id_ for document in documents for id_ in document[1:].tolist())


def check_every_line_is_a_row_with_its_end(lines, rows, seed):
    vocabulary = Vocabulary("\nabc")
    dataset = line_dataset(lines, vocabulary, rows, seed=seed, epochs=2)
    batches = elements(dataset)
    assert len(batches) == dataset.cardinality() == 2 * -(-len(lines) // rows)
    for epoch in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        seen = []
        for tokens, start, targets, weights in epoch:
            assert start.all() and len(tokens) <= rows
            assert weights[:, :].any(axis=0).all(), "a column of nothing but padding"
            for x, y, w in zip(tokens, targets, weights, strict=True):
                count = int(w.sum())
                assert w.tolist() == [1.0] * count + [0.0] * (len(w) - count)
                item = vocabulary.decode(y[: count - 1])
                assert vocabulary.decode(x[:count]) == "\n" + item
                assert vocabulary.decode(y[:count]) == item + "\n"
                seen.append(item)
        assert sorted(seen) == sorted(lines)
    sizes = sorted(len(tokens) for tokens, *_ in epoch)
    assert sizes[1:] == [rows] * (len(sizes) - 1)

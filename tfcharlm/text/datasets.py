"""A long text, or several documents, as a stream of batches in which every row continues where it stopped."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcharlm.checks import FRACTION, POSITIVE_INTEGER, SEED
from tfcharlm.text.batches import checked_ids, id_gatherer, make_dataset, permutation, sha256_of

# Steps of an epoch, and the functions `plan` and `batch` of `make_dataset`.
Windows = tuple[int, Callable[[tf.Tensor], Any], Callable[[Any, tf.Tensor], Any]]


def stream_dataset(
    ids: Any,
    batch_size: int,
    sequence_length: int,
    seed: int | None = None,
    epochs: int | None = 1,
    drop_remainder: bool = True,
    state_reset_probability: float = 0.0,
    random_start: bool = True,
    ids_sha256: Callable[[], str] | None = None,
) -> tf.data.Dataset:
    """Windows over one long text or over documents. Each row of a batch continues that row of the previous batch.

    The text is cut into B parts, one per row. Every batch advances each row by T tokens. The target of a token is the
    next token. A document starts with a window of its own, in which `start` is True. Every batch is a function of
    (seed, epoch, step) alone, so a run can resume at any step with `dataset.source.starting_at(step)`.

    Args:
        ids: integers (length,), from `vocabulary.encode(text)`, or a list of such arrays, one per document. With
            documents, all rows read the same number of windows. A row may therefore start in the middle of a long
            document, without the text before; with one row this cannot happen. A `numpy.memmap` from `encode_file` is
            read window by window, never as a whole; its batches equal those of the same ids in memory.
        batch_size: B, the number of rows that are read in parallel.
        sequence_length: T, the number of tokens per row in one batch.
        seed: None (default) starts every epoch with the first token, and keeps documents in the given order. With an
            integer from 0 up, an epoch starts at a random position, so that the windows of each epoch differ, and
            documents come in random order; both are drawn from (seed, epoch).
        epochs: how many times to read the text; 1 by default, because `fit` turns the data set into one epoch. None
            never ends. `fit` restarts the data set in every epoch. To get different epochs, type `epochs=epochs` here
            and `steps_per_epoch=len(dataset) // epochs` in `fit`.
        drop_remainder: True (default) drops the tokens after the last full window, so that every target counts. False,
            for evaluation, has every target exactly once per epoch, and weights that are 0 on the padding; it needs
            `seed=None`. Documents always have every target once, and weights.
        state_reset_probability: the probability that a window has `start` although the text continues, drawn from
            (seed, epoch, step, row). A model then also learns to start anywhere. 0 by default; 0.01 is usual (Melis et
            al. 2018). A value above 0 needs a seed.
        random_start: True (default) draws the start of an epoch, or the order of documents, from the seed. False keeps
            both as without a seed, which then serves the state resets alone.
        ids_sha256: a function that returns the SHA-256 of the ids, which identifies them when a run resumes; None
            (default) computes it, which takes seconds for a large file.

    Returns:
        A `tf.data.Dataset` of `({"tokens": int32 (B, T), "start": bool (B,)}, targets)`. With `drop_remainder=False` or
        documents, of `({...}, targets, weights)`. Targets are int32 (B, T), weights float32 (B, T); all shapes are
        static. `start` is True where a row starts a document, in the first batch of each epoch, and at state resets.

    Raises:
        ValueError: ids are not integers (length,) or too few for one batch, an argument is out of range, a seed comes
            with `drop_remainder=False`, or state resets without a seed.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.text import stream_dataset
    >>> for x, y in stream_dataset(np.arange(9), batch_size=2, sequence_length=2):
    ...     print(x["tokens"].numpy().tolist(), x["start"].numpy().tolist(), y.numpy().tolist())
    [[0, 1], [4, 5]] [True, True] [[1, 2], [5, 6]]
    [[2, 3], [6, 7]] [False, False] [[3, 4], [7, 8]]
    >>> for x, y, w in stream_dataset([np.arange(4), np.arange(10, 13)], batch_size=1, sequence_length=2):
    ...     print(x["tokens"].numpy().tolist(), x["start"].numpy().tolist(), y.numpy().tolist(), w.numpy().tolist())
    [[0, 1]] [True] [[1, 2]] [[1.0, 1.0]]
    [[2, 0]] [False] [[3, 0]] [[1.0, 0.0]]
    [[10, 11]] [True] [[11, 12]] [[1.0, 1.0]]
    """
    rows = POSITIVE_INTEGER.check("batch_size", batch_size)
    length = POSITIVE_INTEGER.check("sequence_length", sequence_length)
    if seed is not None:
        seed = SEED.check("seed", seed, ", or None")
    state_reset_probability = FRACTION.check("state_reset_probability", state_reset_probability)
    if state_reset_probability and seed is None:
        raise ValueError(
            "state_reset_probability must be 0 without a seed, from which resets are drawn; received "
            f"{state_reset_probability!r} with seed=None. Type seed=0."
        )
    resets = _Resets(state_reset_probability, seed, rows)
    numbers = {"batch_size": rows, "sequence_length": length, "seed": seed}
    numbers |= {"state_reset_probability": state_reset_probability, "random_start": bool(random_start)}
    drawn_with = seed if random_start else None

    def known(arrays):
        return sha256_of(arrays) if ids_sha256 is None else ids_sha256()

    if isinstance(ids, list | tuple) and not all(isinstance(entry, int | np.integer) for entry in ids):
        documents = [checked_ids(document) for document in ids]
        windows = _document_windows(documents, rows, length, drawn_with, resets)
        return make_dataset(epochs, *windows, lambda: {**numbers, "corpus_sha256": known(documents)})
    ids = checked_ids(ids)

    def description():
        return {**numbers, "drop_remainder": drop_remainder, "corpus_sha256": known([ids])}

    if drop_remainder:
        return make_dataset(epochs, *_full_windows(ids, rows, length, drawn_with, resets), description)
    if seed is not None:
        raise ValueError(
            f"seed must be None with drop_remainder=False, which reads every target in order; received {seed!r}."
        )
    # Like one document, except that rows divide the targets evenly here, and the windows there.
    return make_dataset(epochs, *_all_windows(ids, rows, length), description)


def _full_windows(ids, rows, length, seed, resets) -> Windows:
    """`(steps, plan, batch)` for `make_dataset`, with full windows only."""
    targets = len(ids) - 1
    steps = targets // (rows * length)
    if steps == 0:
        fit = min(length, targets)
        raise ValueError(
            f"{len(ids)} tokens are too few: batch_size={rows} with sequence_length={length} needs "
            f"{rows * length + 1}; type batch_size={min(rows, targets // fit)}, sequence_length={fit}"
        )
    stretch = steps * length
    gather = id_gatherer([ids])
    within = stretch * np.arange(rows)[:, None] + np.arange(length + 1)
    spare = targets - rows * stretch

    def plan(epoch):
        return tf.constant(0, tf.int64) if seed is None else _offset(seed, epoch, spare), epoch

    def batch(plan, step):
        offset, epoch = plan
        window = gather(within + offset + step * length)
        return _inputs(window[:, :-1], tf.fill([rows], step == 0) | resets(epoch, step)), window[:, 1:]

    return steps, plan, batch


class _Resets(NamedTuple):
    """The rows that restart in the middle of a text, bool (rows,), as a function of an epoch and a step."""

    rate: float
    seed: int | None
    rows: int

    def __call__(self, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        if not self.rate:
            return tf.zeros([self.rows], tf.bool)
        # `batches.permutation` uses the streams 0 and 1.
        key = tf.random.fold_in(tf.stack([tf.constant(self.seed, tf.int64), epoch]), 2, alg="philox")
        key = tf.random.fold_in(key, step, alg="philox")
        return tf.random.stateless_uniform([self.rows], key, alg="philox") < self.rate


def _offset(seed, epoch, spare):
    # The algorithm is named because the default may differ between devices.
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.random.stateless_uniform((), key, 0, spare + 1, tf.int64, alg="philox")


def _all_windows(ids, rows, length) -> Windows:
    """`(steps, plan, batch)` with every target once, and weights."""
    targets = len(ids) - 1
    stretch = -(-targets // rows)
    gather = id_gatherer([ids])
    first = stretch * np.arange(rows)[:, None]
    last = np.minimum(first + stretch, targets)

    def batch(_, step):
        return _padded(gather, first + step * length, last, length, tf.fill([rows], step == 0))

    return -(-stretch // length), lambda epoch: epoch, batch


def _document_windows(documents, rows, length, seed, resets) -> Windows:
    """`(steps, plan, batch)` for documents. Their windows form one sequence, and all rows get equally many of them."""
    if not documents:
        raise ValueError(
            "ids must be integers (length,), or a list of at least one such array; received an empty list."
        )
    gather = id_gatherer(documents)
    sizes = np.array([len(document) for document in documents])
    first = np.cumsum(sizes) - sizes
    windows = -(-(sizes - 1) // length)
    total = int(windows.sum())
    steps = -(-total // rows)

    def plan(epoch):
        order = permutation(len(documents), seed, epoch)
        return order, tf.cumsum(tf.gather(windows, order)), epoch

    def batch(plan, step):
        order, ends, epoch = plan
        window = np.arange(rows) * steps + step
        position = tf.minimum(tf.searchsorted(ends, window, side="right", out_type=tf.int64), len(documents) - 1)
        document = tf.gather(order, position)
        within = window - tf.gather(ends, position) + tf.gather(windows, document)
        begin = tf.gather(first, document)
        last = tf.where(window < total, begin + tf.gather(sizes, document) - 1, begin)
        start = (step == 0) | ((within == 0) & (window < total)) | resets(epoch, step)
        return _padded(gather, (begin + within * length)[:, None], last[:, None], length, start)

    return steps, plan, batch


def _padded(gather, begin, end, length, start):
    """The batch of windows that start at the positions `begin` (B, 1). Weights are 0 from the positions `end` on."""
    positions = begin + np.arange(length)
    real = positions < end
    window = gather(tf.minimum(begin + np.arange(length + 1), end))
    tokens = tf.where(real, window[:, :-1], 0)
    targets = tf.where(real, window[:, 1:], 0)
    return _inputs(tokens, start), targets, tf.cast(real, tf.float32)


def _inputs(tokens, start):
    return {"tokens": tokens, "start": start}

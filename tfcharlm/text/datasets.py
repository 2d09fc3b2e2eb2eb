"""A long text, or several documents, as a stream of batches in which every row reads on where it stopped."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcharlm.checks import FRACTION, POSITIVE_INTEGER, SEED
from tfcharlm.text.batches import checked_ids, id_gatherer, make_dataset, permutation, sha256_of


def stream_dataset(
    ids,
    batch_size,
    sequence_length,
    seed=None,
    epochs=1,
    drop_remainder=True,
    state_reset_probability=0.0,
    random_start=True,
) -> tf.data.Dataset:
    """Windows over one long text or over documents; row i of a batch goes on where row i of the last one ended.

    The text is cut into B stretches, one for each row, and every batch advances all of them by T
    tokens. The target of a token is the token after it. A document begins with a window of its own,
    and that says `start`. Every batch is a function of (seed, pass, step) alone, so that a run can go
    on from any step, with `dataset.source.starting_at(step)`.

    Args:
        ids: integers (length,), from `vocabulary.encode(text)`; or a list of such arrays, one a
            document. Every row reads as many windows, so it may begin in the middle of a long
            document, without what came before; with one row none does. A `numpy.memmap`, from
            `encode_file`, is read window by window and never as a whole; its batches are those of
            the same ids in memory.
        batch_size: B, rows that are read side by side.
        sequence_length: T, tokens of a row in one batch.
        seed: None (default) to begin every pass with the first token; or an integer from 0 on, with
            which a pass begins at a place drawn from (seed, pass), so that windows differ. Documents
            come in the order given, or with a seed in one drawn from (seed, pass).
        epochs: how many times to read the text; default 1, for `fit` makes an epoch of it. None
            never ends. `fit` begins again with the first pass in every epoch: for epochs that differ,
            type `epochs=epochs` here and `steps_per_epoch=len(dataset) // epochs` there.
        drop_remainder: True (default) leaves out the tokens after the last full window, so all
            targets count. False, for evaluation, has every target exactly once in a pass, and
            weights that are 0 on the padding; then there can be no seed. Documents always have
            every target once, and weights.
        state_reset_probability: share of the windows that say `start` although the text goes on, each drawn from (seed, pass, step,
            row), so that a model also learns to begin anywhere; 0.01 is usual (Melis et al. 2018). Default 0; above, it
            needs a seed.
        random_start: True (default) draws with the seed where a pass begins, or the order of documents; False leaves
            both as without one, and the seed to the resets.

    Returns:
        A `tf.data.Dataset` of `({"tokens": int32 (B, T), "start": bool (B,)}, targets)`, or with
        `drop_remainder=False` or documents of `({...}, targets, weights)`; targets int32 (B, T),
        weights float32 (B, T), all shapes static. `start` is True where a row begins a document,
        in the first batch of each pass, and at resets.

    Raises:
        ValueError: ids are not integers (length,), are too few for one batch, or an argument is
            out of range, or a seed comes with `drop_remainder=False`, or resets without a seed.

    Example:

    >>> import numpy as np
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
            "state_reset_probability needs a seed, from which resets are drawn; received "
            f"state_reset_probability={state_reset_probability!r} without one. Type seed=0."
        )
    resets = _Resets(state_reset_probability, seed, rows)
    numbers = {"batch_size": rows, "sequence_length": length, "seed": seed}
    numbers |= {"state_reset_probability": state_reset_probability, "random_start": bool(random_start)}
    drawn_with = seed if random_start else None
    if isinstance(ids, list | tuple) and not all(isinstance(entry, int | np.integer) for entry in ids):
        documents = [checked_ids(document) for document in ids]
        windows = _document_windows(documents, rows, length, drawn_with, resets)
        return make_dataset(epochs, *windows, lambda: {**numbers, "corpus_sha256": sha256_of(documents)})
    ids = checked_ids(ids)

    def description():
        return {**numbers, "drop_remainder": drop_remainder, "corpus_sha256": sha256_of([ids])}

    if drop_remainder:
        return make_dataset(epochs, *_full_windows(ids, rows, length, drawn_with, resets), description)
    if seed is not None:
        raise ValueError(
            f"drop_remainder=False reads every target from the first on; received seed={seed!r}, expected seed=None"
        )
    # One document; but without a seed its rows divide the targets evenly, and not the windows.
    return make_dataset(epochs, *_all_windows(ids, rows, length), description)


def _full_windows(ids, rows, length, seed, resets):
    """(steps of a pass, what changes from pass to pass, the batch of that and a step) with full windows only."""
    targets = len(ids) - 1
    steps = targets // (rows * length)
    if steps == 0:
        fit = min(length, targets)
        raise ValueError(
            f"{len(ids)} tokens are too few: batch_size={rows} with sequence_length={length} needs "
            f"{rows * length + 1}; type batch_size={min(rows, targets // fit)}, "
            f"sequence_length={fit}"
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
    """Which rows begin afresh in the middle of a text, bool (rows,), of a pass and a step."""

    rate: float
    seed: int | None
    rows: int

    def __call__(self, epoch, step):
        if not self.rate:
            return tf.zeros([self.rows], tf.bool)
        # 0 and 1 are the keys of orders (`batches.permutation`).
        key = tf.random.fold_in(tf.stack([tf.constant(self.seed, tf.int64), epoch]), 2, alg="philox")
        key = tf.random.fold_in(key, step, alg="philox")
        return tf.random.stateless_uniform([self.rows], key, alg="philox") < self.rate


def _offset(seed, epoch, spare):
    # One named algorithm: the default one may differ between devices.
    key = tf.stack([tf.constant(seed, tf.int64), epoch])
    return tf.random.stateless_uniform((), key, 0, spare + 1, tf.int64, alg="philox")


def _all_windows(ids, rows, length):
    """The same with every target once, and weights."""
    targets = len(ids) - 1
    stretch = -(-targets // rows)
    gather = id_gatherer([ids])
    first = stretch * np.arange(rows)[:, None]
    last = np.minimum(first + stretch, targets)

    def batch(_, step):
        return _padded(gather, first + step * length, last, length, tf.fill([rows], step == 0))

    return -(-stretch // length), lambda epoch: epoch, batch


def _document_windows(documents, rows, length, seed, resets):
    """The same for documents: their windows one after another, and a stretch of as many windows for each row."""
    if not documents:
        raise ValueError(
            "ids must be integers (length,), or a list of one such document or more; received an empty list"
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
    """The batch of the windows that begin at positions (B, 1), with weights 0 from the ends (B, 1) on."""
    positions = begin + np.arange(length)
    real = positions < end
    window = gather(tf.minimum(begin + np.arange(length + 1), end))
    tokens = tf.where(real, window[:, :-1], 0)
    targets = tf.where(real, window[:, 1:], 0)
    return _inputs(tokens, start), targets, tf.cast(real, tf.float32)


def _inputs(tokens, start):
    return {"tokens": tokens, "start": start}

"""A long text as batches of windows in which every row reads on where it stopped."""

import operator

import numpy as np
import tensorflow as tf


def stream_dataset(ids, batch_size, sequence_length, seed=None, passes=1, drop_remainder=True) -> tf.data.Dataset:
    """Windows over one long text; row i of a batch goes on where row i of the last one ended.

    The text is cut into B stretches, one for each row, and every batch advances all of them by T
    tokens. The target of a token is the token after it. Batch number s is a function of (seed, s)
    alone, so that a run can go on from any step with `dataset.skip(s)`.

    Args:
        ids: integers (length,), from `vocabulary.encode(text)`.
        batch_size: B, rows that are read side by side.
        sequence_length: T, tokens of a row in one batch.
        seed: None (default) to begin every pass with the first token; or an integer from 0 on, with
            which a pass begins at a place drawn from (seed, pass), so that windows differ.
        passes: how many times to read the text; default 1, for `fit` makes an epoch of it. None
            never ends.
        drop_remainder: True (default) leaves out the tokens after the last full window, so all
            targets count. False, for evaluation, has every target exactly once in a pass, and
            weights that are 0 on the padding; then there can be no seed.

    Returns:
        A `tf.data.Dataset` of `({"tokens": int32 (B, T), "start": bool (B,)}, targets)`, or with
        `drop_remainder=False` of `({...}, targets, weights)`; targets int32 (B, T), weights
        float32 (B, T), all shapes static. `start` is True in the first batch of each pass.

    Raises:
        ValueError: ids are not integers (length,), are too few for one batch, or an argument is
            out of range, or a seed comes with `drop_remainder=False`.

    Example:

    >>> import numpy as np
    >>> for x, y in stream_dataset(np.arange(9), batch_size=2, sequence_length=2):
    ...     print(x["tokens"].numpy().tolist(), x["start"].numpy().tolist(), y.numpy().tolist())
    [[0, 1], [4, 5]] [True, True] [[1, 2], [5, 6]]
    [[2, 3], [6, 7]] [False, False] [[3, 4], [7, 8]]
    """
    ids = _check_ids(ids)
    rows = _check_integer("batch_size", batch_size, 1)
    length = _check_integer("sequence_length", sequence_length, 1)
    if passes is not None:
        passes = _check_integer("passes", passes, 1)
    if seed is not None:
        seed = _check_integer("seed", seed, 0)
    if drop_remainder:
        steps, batch = _full_windows(ids, rows, length, seed)
    else:
        if seed is not None:
            raise ValueError(
                f"drop_remainder=False reads every target from the first on; got seed={seed!r}, expected seed=None"
            )
        steps, batch = _all_windows(ids, rows, length)
    counter = tf.data.Dataset.counter() if passes is None else tf.data.Dataset.range(passes * steps)
    dataset = counter.map(lambda step: batch(step // steps, step % steps))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _full_windows(ids, rows, length, seed):
    """(steps of a pass, the batch of (pass, step)) with full windows only."""
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
    ids = tf.constant(ids)
    within = stretch * np.arange(rows)[:, None] + np.arange(length + 1)
    spare = targets - rows * stretch

    def batch(pass_, step):
        offset = 0 if seed is None else _offset(seed, pass_, spare)
        window = tf.gather(ids, within + offset + step * length)
        return _inputs(window[:, :-1], step), window[:, 1:]

    return steps, batch


def _offset(seed, pass_, spare):
    # One named algorithm: the default one may differ between devices.
    key = tf.stack([tf.constant(seed, tf.int64), pass_])
    return tf.random.stateless_uniform((), key, 0, spare + 1, tf.int64, alg="philox")


def _all_windows(ids, rows, length):
    """(steps of a pass, the batch of (pass, step)) with every target once, and weights."""
    targets = len(ids) - 1
    stretch = -(-targets // rows)
    ids = tf.constant(ids)
    first = stretch * np.arange(rows)[:, None]
    last = np.minimum(first + stretch, targets)

    def batch(_, step):
        places = first + step * length + np.arange(length)
        real = places < last
        places = tf.where(real, places, 0)
        tokens = tf.where(real, tf.gather(ids, places), 0)
        following = tf.where(real, tf.gather(ids, places + 1), 0)
        return _inputs(tokens, step), following, tf.cast(real, tf.float32)

    return -(-stretch // length), batch


def _inputs(tokens, step):
    return {"tokens": tokens, "start": tf.fill(tokens.shape[:1], tf.equal(step, 0))}


def _check_ids(ids):
    array = np.asarray(ids)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"ids must be integers (length,); got {type(ids).__name__} of {array.dtype} "
            f"{array.shape}; type vocabulary.encode(text)"
        )
    if len(array) < 2:
        raise ValueError(f"ids must be 2 tokens or more, one to predict from; got {len(array)}")
    return array.astype(np.int32, copy=False)


def _check_integer(name, value, least):
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not least <= number < 2**63:
        raise ValueError(f"{name} must be an integer from {least} on; got {value!r}")
    return number

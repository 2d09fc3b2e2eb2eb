"""Short texts of one line each, such as names. Each is a row of a batch, together with lines of similar length."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER, SEED
from tfcharlm.text.batches import id_gatherer, make_dataset, permutation, release_pages, sha256_of
from tfcharlm.text.vocabulary import Vocabulary

# More items than a block has are shuffled block by block; a block consists of runs of neighbors from anywhere.
BLOCK, RUN = 1 << 19, 1 << 12


def line_dataset(
    lines: Iterable[str], vocabulary: Vocabulary, batch_size: int, seed: int | None = None, epochs: int | None = 1
) -> tf.data.Dataset:
    r"""Short texts of one line each, padded, in batches of lines of about the same length. No line is left out.

    A line is read from the newline before it, and predicted up to the newline after it, which is its end symbol. A line
    of n tokens has n + 1 targets.

    $$ \mathrm{tokens} = (\backslash n, x_1, \dots, x_n), \qquad \mathrm{targets} = (x_1, \dots, x_n, \backslash n) $$

    Every batch is a function of (seed, epoch, step) alone, so a run can resume at any step with
    `dataset.source.starting_at(step)`.

    Args:
        lines: several str without newlines, such as `text.splitlines()`.
        vocabulary: a `Vocabulary` with the newline.
        batch_size: B, the number of lines in a batch. The batch with the longest lines may have fewer.
        seed: None (default) gives the same batches in every epoch, the shortest lines first. With an integer from 0 up,
            lines of similar length (within an eighth) are batched together at random, and the batches come in random
            order; both are drawn from (seed, epoch).
        epochs: how many times to read all lines; 1 by default, because `fit` turns the data set into one epoch. None
            never ends. `fit` restarts the data set in every epoch. To get different epochs, type `epochs=epochs` here
            and `steps_per_epoch=len(dataset) // epochs` in `fit`.

    Returns:
        A `tf.data.Dataset` of `({"tokens": int32 (B, T), "start": bool (B,)}, targets, weights)`. Targets are int32
        (B, T). Weights are float32 (B, T), 1 on targets and 0 on padding. `start` is True in every row. T is one more
        than the length of the longest line of the batch.

    Raises:
        ValueError: there are no lines, a line contains a newline or a token that is not in the vocabulary, or an
            argument is out of range.

    Example:

    >>> from tfcharlm.text import Vocabulary, line_dataset
    >>> vocabulary = Vocabulary.from_text("ann\nbo\n")
    >>> for x, y, weights in line_dataset(["ann", "bo"], vocabulary, batch_size=2):
    ...     print(repr(vocabulary.decode(x["tokens"][0])), repr(vocabulary.decode(y[0])), weights[0].numpy())
    '\nbo\n' 'bo\n\n' [1. 1. 1. 0.]
    """
    ids = _encoded(lines, vocabulary)
    # Neighboring lines share the newline between them. A line is read from the newline before it, and its targets are
    # one position later.
    newlines = np.flatnonzero(ids == ids[0])
    return item_dataset(ids, newlines[:-1], np.diff(newlines), batch_size, seed, epochs, lambda: sha256_of([ids]))


def item_dataset(
    ids: np.ndarray,
    begins: np.ndarray | None,
    lengths: np.ndarray,
    batch_size: int,
    seed: int | None,
    epochs: int | None,
    ids_sha256: Callable[[], str],
) -> tf.data.Dataset:
    """The data set of `line_dataset` from ids that are encoded already.

    Args:
        ids: integers (length,), in memory or a `numpy.memmap`.
        begins: int64 (N,), the position of the token that each item is read from, such as the newline before it.
        lengths: integers (N,), the number of targets of each item, which follow that token.
        batch_size: B, the number of items in a batch.
        seed: as in `line_dataset`.
        epochs: as in `line_dataset`.
        ids_sha256: a function that returns the SHA-256 of the items.

    Returns:
        A `tf.data.Dataset` as of `line_dataset`.
    """
    rows = POSITIVE_INTEGER.check("batch_size", batch_size)
    if seed is not None:
        seed = SEED.check("seed", seed, ", or None")
    if begins is None or not len(begins):
        raise ValueError("lines must be one or more; received none.")
    padding = int(ids[int(begins[0])])
    gather, where = id_gatherer([ids]), _reader(begins, lengths)
    in_blocks = len(begins) > BLOCK
    per_block = max(1, BLOCK // rows) if in_blocks else -(-len(begins) // rows)

    def plan(epoch, block):
        first = block * per_block * rows
        last = tf.minimum(first + per_block * rows, len(begins))
        # A seed of its own for each block.
        salt = epoch if not in_blocks else epoch * (1 << 20) + block
        if in_blocks:
            items = _scattered(tf.range(first, last), len(begins), seed, epoch)
            order = permutation(last - first, seed, salt, stream=3)
            chosen = tf.gather(items, order)
        else:
            chosen = permutation(len(begins), seed, salt)
        targets = tf.cast(where(chosen)[1], tf.float64)
        # Each length up to 9 is its own class; above 9, the lengths of a class differ by about an eighth.
        classes = targets if seed is None else tf.round(tf.math.log(targets) / np.log(1.125))
        chosen = tf.gather(chosen, tf.argsort(classes, stable=True))
        return chosen, permutation(-(-(last - first) // rows), seed, salt, stream=1)

    def batch(plan, step):
        order, order_of_steps = plan
        first = order_of_steps[step] * rows
        begin, length = where(order[first : first + rows])
        last = (begin + length)[:, None]
        positions = begin[:, None] + tf.range(tf.reduce_max(length) + 1)
        real = positions[:, :-1] < last
        window = gather(tf.minimum(positions, last))
        tokens = tf.where(real, window[:, :-1], padding)
        targets = tf.where(real, window[:, 1:], padding)
        inputs = {"tokens": tokens, "start": tf.ones_like(begin, tf.bool)}
        return inputs, targets, tf.cast(real, tf.float32)

    steps = -(-len(begins) // rows)
    numbers = {"batch_size": rows, "seed": seed}
    return make_dataset(
        epochs, steps, plan, batch, lambda: {**numbers, "corpus_sha256": ids_sha256()}, steps_per_plan=per_block
    )


def _scattered(positions, size, seed, epoch):
    """The items at these positions of an epoch: short runs of neighbors, in random order.

    A permutation of hundreds of millions of items would not fit into memory. The runs start at a random item, so that
    they differ from epoch to epoch.
    """
    if seed is None:
        return positions
    runs = size // RUN
    offset = permutation(runs + 1, seed, epoch, stream=4)[0] * RUN + epoch % RUN
    run = positions // RUN
    order = permutation(runs, seed, epoch, stream=5)
    # What does not fill a run comes last.
    run = tf.where(run < runs, tf.gather(order, tf.minimum(run, runs - 1)), run)
    return (run * RUN + positions % RUN + offset) % size


def _reader(begins, lengths):
    """A function from item numbers, int64 (n,), to their begins and lengths, both int64 (n,)."""
    if not isinstance(begins, np.memmap):
        begins, lengths = tf.constant(begins, tf.int64), tf.constant(lengths, tf.int64)
        return lambda items: (tf.gather(begins, items), tf.gather(lengths, items))

    def read(items):
        found = begins[items].astype(np.int64), lengths[items].astype(np.int64)
        release_pages(begins)
        release_pages(lengths)
        return found

    def read_in_graph(items):
        found = tf.numpy_function(read, [items], [tf.int64, tf.int64], stateful=False)
        return tuple(tf.ensure_shape(values, items.shape) for values in found)

    return read_in_graph


def _encoded(lines, vocabulary):
    """The ids of all lines, with a newline before, between and after them."""
    lines = list(lines)
    for number, line in enumerate(lines):
        if not isinstance(line, str) or "\n" in line:
            raise ValueError(
                f"lines must be str without newlines; received {line!r:.60} at position {number}. "
                "Type text.splitlines()."
            )
    if not lines:
        raise ValueError("lines must be one or more; received none.")
    if "\n" not in vocabulary.tokens:
        raise ValueError(
            f"vocabulary must have the newline, which ends a line; received {vocabulary!r} without it. Type "
            'Vocabulary.from_text("\\n".join(lines) + "\\n").'
        )
    ids = vocabulary.encode("\n".join(lines) + "\n")
    return np.concatenate([vocabulary.encode("\n"), ids])

"""One item a line, such as names: each is a row from newline to newline, and rows of like length are read together."""

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER, SEED
from tfcharlm.text.batches import make_dataset, permutation, sha256_of


def line_dataset(lines, vocabulary, batch_size, seed=None, epochs=1) -> tf.data.Dataset:
    r"""Items of a line each, padded, in batches of items of about the same length; nothing is left out.

    An item is predicted from the newline before it to the newline after it, which is its end symbol:
    an item of n tokens has n + 1 targets.

    $$ \mathrm{tokens} = (\backslash n, x_1, \dots, x_n), \qquad \mathrm{targets} = (x_1, \dots, x_n, \backslash n) $$

    Every batch is a function of (seed, pass, step) alone.

    Args:
        lines: list of str, without their newlines; `text.splitlines()`.
        vocabulary: a `Vocabulary` with the newline.
        batch_size: B, items of a batch; the last batch of the longest has what is left.
        seed: None (default) for the same batches in every pass, the shortest items first; or an
            integer from 0 on, with which items of like length (within an eighth) are drawn together,
            and batches come in an order drawn from (seed, pass).
        epochs: how many times to read all items; default 1, for `fit` makes an epoch of it. None
            never ends. `fit` begins again with the first pass in every epoch: for epochs that differ,
            type `epochs=epochs` here and `steps_per_epoch=len(dataset) // epochs` there.

    Returns:
        A `tf.data.Dataset` of `({"tokens": int32 (B, T), "start": bool (B,)}, targets, weights)`;
        targets int32 (B, T); weights float32 (B, T), 1 on targets and 0 on padding; `start` all True;
        T is one more than the length of the longest item of the batch.

    Raises:
        ValueError: no lines, a newline inside a line, something that is not in the vocabulary, or
            an argument out of range.

    Example:

    >>> vocabulary = Vocabulary.from_text("ann\nbo\n")
    >>> for x, y, weights in line_dataset(["ann", "bo"], vocabulary, batch_size=2):
    ...     print(repr(vocabulary.decode(x["tokens"][0])), repr(vocabulary.decode(y[0])), weights[0].numpy())
    '\nbo\n' 'bo\n\n' [1. 1. 1. 0.]
    """
    rows = POSITIVE_INTEGER.check("batch_size", batch_size)
    if seed is not None:
        seed = SEED.check("seed", seed, ", or None")
    newline, ids = _encoded(lines, vocabulary)
    # Items share the newline between them: item d is read from one to before the next, and predicted one position later.
    newlines = np.flatnonzero(ids == newline)
    begin, lengths = newlines[:-1], np.diff(newlines)
    steps = -(-len(lengths) // rows)
    # Each length up to 9 is a class of its own; above that, a class is about an eighth wide.
    classes = lengths if seed is None else np.round(np.log(lengths) / np.log(1.125))
    ids_of_items, ids = ids, tf.constant(ids)

    def plan(epoch):
        items = permutation(len(lengths), seed, epoch)
        items = tf.gather(items, tf.argsort(tf.gather(classes, items), stable=True))
        return items, permutation(steps, seed, epoch, stream=1)

    def batch(plan, step):
        items, steps_in_order = plan
        chosen = steps_in_order[step] * rows
        chosen = items[chosen : chosen + rows]
        length = tf.gather(lengths, chosen)
        positions = tf.range(tf.reduce_max(length))
        real = positions < length[:, None]
        positions = tf.where(real, tf.gather(begin, chosen)[:, None] + positions, 0)
        tokens = tf.where(real, tf.gather(ids, positions), newline)
        targets = tf.where(real, tf.gather(ids, positions + 1), newline)
        inputs = {"tokens": tokens, "start": tf.ones_like(chosen, tf.bool)}
        return inputs, targets, tf.cast(real, tf.float32)

    numbers = {"batch_size": rows, "seed": seed}
    return make_dataset(epochs, steps, plan, batch, lambda: {**numbers, "corpus_sha256": sha256_of([ids_of_items])})


def _encoded(lines, vocabulary):
    """(the newline's id, the ids of all lines with a newline before, between and after them)."""
    lines = list(lines)
    for number, line in enumerate(lines):
        if not isinstance(line, str) or "\n" in line:
            raise ValueError(
                f"lines must be str without newlines; received {line!r:.60} at position {number}; type text.splitlines()"
            )
    if not lines:
        raise ValueError("lines must be one or more; received none")
    if "\n" not in vocabulary.tokens:
        raise ValueError(
            f"the vocabulary needs the newline, which ends an item; received {vocabulary!r} without it; type "
            'Vocabulary.from_text("\\n".join(lines) + "\\n")'
        )
    ids = vocabulary.encode("\n".join(lines) + "\n")
    newline = vocabulary.encode("\n")
    return newline[0], np.concatenate([newline, ids])

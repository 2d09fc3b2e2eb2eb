"""Short texts of one line each, such as names. Each is a row of a batch, together with lines of similar length."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER, SEED
from tfcharlm.text.batches import make_dataset, permutation, sha256_of
from tfcharlm.text.vocabulary import Vocabulary


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
    rows = POSITIVE_INTEGER.check("batch_size", batch_size)
    if seed is not None:
        seed = SEED.check("seed", seed, ", or None")
    newline, ids = _encoded(lines, vocabulary)
    # Neighboring lines share the newline between them. A line is read from the newline before it, and its targets are
    # one position later.
    newlines = np.flatnonzero(ids == newline)
    begin, lengths = newlines[:-1], np.diff(newlines)
    steps = -(-len(lengths) // rows)
    # Each length up to 9 is its own class; above 9, the lengths of a class differ by about an eighth.
    classes = lengths if seed is None else np.round(np.log(lengths) / np.log(1.125))
    ids_of_lines, ids = ids, tf.constant(ids)

    def plan(epoch):
        order = permutation(len(lengths), seed, epoch)
        order = tf.gather(order, tf.argsort(tf.gather(classes, order), stable=True))
        return order, permutation(steps, seed, epoch, stream=1)

    def batch(plan, step):
        order, order_of_steps = plan
        chosen = order_of_steps[step] * rows
        chosen = order[chosen : chosen + rows]
        length = tf.gather(lengths, chosen)
        positions = tf.range(tf.reduce_max(length))
        real = positions < length[:, None]
        positions = tf.where(real, tf.gather(begin, chosen)[:, None] + positions, 0)
        tokens = tf.where(real, tf.gather(ids, positions), newline)
        targets = tf.where(real, tf.gather(ids, positions + 1), newline)
        inputs = {"tokens": tokens, "start": tf.ones_like(chosen, tf.bool)}
        return inputs, targets, tf.cast(real, tf.float32)

    numbers = {"batch_size": rows, "seed": seed}
    return make_dataset(epochs, steps, plan, batch, lambda: {**numbers, "corpus_sha256": sha256_of([ids_of_lines])})


def _encoded(lines, vocabulary):
    """`(id of the newline, ids of all lines with a newline before, between and after them)`."""
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
    newline = vocabulary.encode("\n")
    return newline[0], np.concatenate([newline, ids])

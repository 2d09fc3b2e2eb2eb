"""Limits on the arguments of the signatures. Anybody may call a graph, so it rejects what would not fit into memory."""

import tensorflow as tf

from tfcharlm.checks import Bounds
from tfcharlm.generation.sampling_settings import BOUNDS, MEANINGS, Sampling

# Rows of one call. Fewer if the logits and states of a row are long.
MAX_ROWS = 1024
# Bytes of all texts to score, each padded to the longest.
MAX_BYTES = 2**21
# Tokens that one row of `generate` may read and write in sequence, and tokens of all rows together.
MAX_LENGTH, MAX_TOKENS = 2**17, 2**20
# Numbers of logits and states that are held at once: 64 MiB of float32.
MAX_NUMBERS = 2**24
# `samples` and `beams` in Python. A row takes kilobytes, and more rows than these no memory holds.
ROWS = Bounds(low=1, high=2**20, whole=True)


def generate_checks(
    prompts: tf.Tensor, max_length: tf.Tensor, sampling: Sampling, seed: tf.Tensor, width: int
) -> list[tf.Operation]:
    """Operations that raise InvalidArgumentError and name the argument of `generate` that is out of bounds.

    Args:
        prompts, max_length, seed: tensors in the shapes of the signature.
        sampling: a `Sampling` of tensors.
        width: how many numbers the logits and states of a row have.
    """
    rows = tf.size(prompts, tf.int64)
    length = _longest(prompts) + tf.cast(max_length, tf.int64)
    return [
        _row_check(prompts, "prompts", width),
        _check(max_length >= 0, "max_length must be 0 or more; received", max_length),
        _check(
            (length <= MAX_LENGTH) & (rows * length <= MAX_TOKENS),
            f"max_length and the bytes of the longest of prompts must together be at most {MAX_LENGTH}, and times the "
            f"number of prompts at most {MAX_TOKENS}; received together",
            length,
        ),
        *(_bounds_check(name, value) for name, value in sampling._asdict().items()),
        _check(tf.equal(tf.size(seed, tf.int64), rows), "seed must be one integer per prompt; received", tf.size(seed)),
    ]


def score_checks(texts: tf.Tensor, width: int) -> list[tf.Operation]:
    """The same for the texts of `score`."""
    longest = _longest(texts)
    return [
        _row_check(texts, "texts", width),
        _check(
            tf.size(texts, tf.int64) * longest <= MAX_BYTES,
            f"texts must be at most {MAX_BYTES} bytes, each padded to the longest; received texts of up to",
            longest,
            "bytes",
        ),
    ]


def step_checks(tokens: tf.Tensor, states: list[tf.Tensor], vocabulary_size: int, width: int) -> list[tf.Operation]:
    """The same for the ids and states of `step`."""
    rows, most = tf.shape(tokens)[0], max(1, MAX_NUMBERS // width)
    low, high = tf.reduce_min(tokens), tf.reduce_max(tokens)
    return [
        _check(tf.shape(tokens)[1] >= 1, "tokens must be (B, T) with T at least 1; received", tf.shape(tokens)),
        _check(tf.size(tokens) <= most, f"tokens must be at most {most} per call; received", tf.shape(tokens)),
        _check(
            tf.reduce_all((tokens >= 0) & (tokens < vocabulary_size)),
            f"tokens must be ids from 0 to {vocabulary_size - 1}; received",
            low,
            "to",
            high,
        ),
        *(
            _check(tf.equal(tf.shape(s)[0], rows), f"state_{i} must have as many rows as tokens; received", tf.shape(s))
            for i, s in enumerate(states)
        ),
    ]


def scored_at_once(rows: tf.Tensor, width: int, most: int) -> tf.Tensor:
    """How many tokens of each row are read at once, int32: `most`, or fewer if there are many or long rows."""
    return tf.clip_by_value(MAX_NUMBERS // (tf.maximum(rows, 1) * width), 1, most)


def _row_check(texts, name, width):
    most = max(1, min(MAX_ROWS, MAX_NUMBERS // width))
    return _check(tf.size(texts) <= most, f"{name} must be at most {most} per call; received", tf.size(texts))


def _longest(texts):
    return tf.cast(tf.reduce_max(tf.concat([tf.strings.length(texts), [0]], axis=0)), tf.int64)


def _bounds_check(name, value):
    bounds, holds = BOUNDS[name], tf.math.is_finite(tf.cast(value, tf.float32))
    for end, compare in (("low", tf.greater_equal), ("above", tf.greater), ("high", tf.less_equal), ("below", tf.less)):
        if getattr(bounds, end) is not None:
            holds &= compare(value, tf.cast(getattr(bounds, end), value.dtype))
    return _check(holds, f"{name} must be {bounds}{MEANINGS[name]}; received", value)


def _check(holds, *message):
    return tf.debugging.Assert(holds, list(message))

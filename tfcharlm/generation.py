"""Prompt in, text out: one compiled loop over `model.step`, the same in Python and in an exported SavedModel."""

import codecs
import math
import numbers
import operator
import secrets

import numpy as np
import tensorflow as tf

from tfcharlm.sampling import sample, uniform
from tfcharlm.text.codec import GraphCodec
from tfcharlm.text.vocabulary import UnknownTokenError


class TextGenerator(tf.Module):
    """The graph that continues prompts, made of a model's step function and its vocabulary.

    Reading the prompts gives (logits, states); writing goes on from there and gives the next (logits, states).
    `generate` is one read and one write; `stream` is one read and many short writes, and gives the same text.

    Args:
        model: a `CharLM`, or whatever else has `vocabulary`, `initial_state(batch_size)` and
            `step(tokens, states, mask) -> (logits, states)`.
    """

    def __init__(self, model):
        super().__init__()
        self._step = model.step
        self._initial_state = model.initial_state
        self._codec = GraphCodec(model.vocabulary)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "prompts"),
            tf.TensorSpec([], tf.int32, "max_length"),
            tf.TensorSpec([], tf.float32, "temperature"),
            tf.TensorSpec([], tf.int32, "top_k"),
            tf.TensorSpec([], tf.float32, "top_p"),
            tf.TensorSpec([None], tf.int64, "seed"),
        ],
        autograph=False,
    )
    def generate(self, prompts, max_length, temperature, top_k, top_p, seed):
        """Continues every prompt by `max_length` tokens.

        Args:
            prompts: string (B,), UTF-8. An empty prompt stands for the start of a line.
            max_length: int32 (), number of tokens to add, 0 or more.
            temperature, top_k, top_p: as in `tfcharlm.sampling.sample`.
            seed: int64 (B,), one for every row.

        Returns:
            `{"text": string (B,)}`, each prompt with its continuation.

        Raises:
            tf.errors.InvalidArgumentError: naming the argument that is out of bounds.
        """
        with tf.control_dependencies(_argument_checks(prompts, max_length, temperature, top_k, top_p, seed)):
            prompts, max_length, seed = tf.identity(prompts), tf.identity(max_length), tf.identity(seed)
        logits, states = self._read(prompts)
        ids, _, _ = self._write(logits, states, 0, max_length, temperature, top_k, top_p, seed)
        return {"text": tf.strings.join([prompts, self._codec.decode(ids)])}

    def stream(self, prompt, max_length, temperature, top_k, top_p, seed, block=16):
        """Yields the continuation of one prompt in pieces of `block` tokens, as they are made."""
        logits, states = self._read_compiled(tf.constant([prompt]))
        to_text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for position in range(0, max_length, block):
            length = min(block, max_length - position)
            ids, logits, states = self._write_compiled(
                logits,
                states,
                tf.constant(position),
                *_tensors(length, temperature, top_k, top_p),
                tf.constant([seed], tf.int64),
            )
            yield to_text.decode(self._codec.decode(ids).numpy()[0], final=position + length == max_length)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def _read_compiled(self, prompts):
        return self._read(prompts)

    @tf.function(autograph=False, reduce_retracing=True)
    def _write_compiled(self, *arguments):
        return self._write(*arguments)

    def _read(self, prompts):
        """The logits after the last token of every prompt, (B, V), and the states there."""
        # A vocabulary without a newline has no line to start; the codec then says so.
        ids = self._codec.encode(tf.where(tf.equal(prompts, ""), "\n", prompts), name="prompts")
        lengths = ids.row_lengths()
        # At least one column, so that no prompts at all are no special case.
        tokens = ids.to_tensor()
        tokens = tf.pad(tokens, [[0, 0], [0, tf.cast(tf.equal(tf.shape(tokens)[1], 0), tf.int32)]])
        mask = tf.sequence_mask(lengths, tf.shape(tokens)[1])
        logits, states = self._step(tokens, self._initial_state(tf.shape(prompts)[0]), mask=mask)
        return tf.gather(logits, lengths - 1, batch_dims=1), states

    def _write(self, logits, states, position, length, temperature, top_k, top_p, seed):
        """`length` tokens, (B, length), from `position` of the continuation on; and logits and states after them."""
        noise = tf.transpose(uniform(seed, position + tf.range(length)))
        # The first element is dropped again: an empty array could not be stacked.
        written = tf.TensorArray(tf.int32, size=length + 1, element_shape=(logits.shape[0],))
        written = written.write(0, tf.zeros(tf.shape(logits)[:1], tf.int32))

        def write_one(t, written, logits, states):
            ids = sample(logits, noise[t], temperature, top_k, top_p)
            logits, states = self._step(ids[:, None], states)
            return t + 1, written.write(t + 1, ids), logits[:, 0], states

        _, written, logits, states = tf.while_loop(
            lambda t, *_: t < length, write_one, (0, written, logits, states), maximum_iterations=length
        )
        return tf.transpose(tf.ensure_shape(written.stack()[1:], (None, logits.shape[0]))), logits, states


def generate(model, prompts, max_length, temperature, top_k, top_p, seed):
    """`CharLM.generate`, with its arguments checked before the graph sees them."""
    single = isinstance(prompts, str)
    prompts = [prompts] if single else list(prompts)
    _check(model.vocabulary, prompts, max_length, temperature, top_k, top_p)
    seeds = row_seeds(seed, len(prompts))
    text = model.text_generator.generate(
        tf.constant(prompts, tf.string, shape=(len(prompts),)),
        *_tensors(max_length, temperature, top_k, top_p),
        tf.constant(seeds, tf.int64, shape=(len(prompts),)),
    )["text"]
    texts = [row.decode("utf-8", errors="replace") for row in text.numpy()]
    return texts[0] if single else texts


def stream(model, prompt, max_length, temperature, top_k, top_p, seed):
    """`CharLM.stream`, with its arguments checked before the first piece is made."""
    _check(model.vocabulary, [prompt], max_length, temperature, top_k, top_p)
    return model.text_generator.stream(prompt, max_length, temperature, top_k, top_p, row_seeds(seed, 1)[0])


def row_seeds(seed, rows):
    """One int64 seed a row: s, s + 1, ... for an integer s; a list as it is; new ones for None.

    Example:

    >>> row_seeds(7, 3)
    [7, 8, 9]
    """
    first = secrets.randbelow(2**62) if seed is None else _whole_number(seed)
    try:
        seeds = list(seed) if first is None else [first + row for row in range(rows)]
    except TypeError:
        seeds = []
    seeds = [_whole_number(s) for s in seeds]
    if len(seeds) != rows or not all(s is not None and -(2**63) <= s < 2**63 for s in seeds):
        raise ValueError(f"seed must be an integer of 64 bits, or a list of {rows}, one a prompt; received {seed!r}.")
    return seeds


def _check(vocabulary, prompts, max_length, temperature, top_k, top_p):
    for prompt in prompts:
        if prompt == "" and not len(vocabulary.encode("\n", errors="ignore")):
            raise ValueError(
                "an empty prompt is the start of a line, but this model knows no newline; give it a prompt."
            )
        try:
            vocabulary.encode(prompt)
        except UnknownTokenError as error:
            raise ValueError(f"prompt: {error.what}; a model goes on only from what its corpus has.") from error
    size, share = "a whole number from 0 to 2147483647", "above 0 and at most 1"
    rules = [
        ("max_length", max_length, _is_size(max_length), size),
        ("temperature", temperature, 0 <= _in_graph(temperature) < math.inf, "a number from 0 (greedy) up"),
        ("top_k", top_k, _is_size(top_k), f"{size} (0: off)"),
        ("top_p", top_p, 0 < _in_graph(top_p) <= 1, f"{share} (1: off)"),
    ]
    for name, value, holds, expected in rules:
        if not holds:
            raise ValueError(f"{name} must be {expected}; received {value!r}.")


def _whole_number(value):
    """An integer of Python or NumPy as int; None for anything else."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _is_size(value):
    number = _whole_number(value)
    return number is not None and 0 <= number < 2**31


def _in_graph(value):
    """The number as the graph will see it, a float32; NaN for what is none. 1e-50 is 0 there, and 1e39 infinite."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _tensors(max_length, temperature, top_k, top_p):
    return (
        tf.constant(max_length, tf.int32),
        tf.constant(temperature, tf.float32),
        tf.constant(top_k, tf.int32),
        tf.constant(top_p, tf.float32),
    )


def _argument_checks(prompts, max_length, temperature, top_k, top_p, seed):
    check = tf.debugging.Assert
    finite = tf.math.is_finite(temperature)
    return [
        check(max_length >= 0, ["max_length must be 0 or more; received", max_length]),
        check(finite & (temperature >= 0), ["temperature must be finite and 0 or more; received", temperature]),
        check(top_k >= 0, ["top_k must be 0 (off) or more; received", top_k]),
        check((top_p > 0) & (top_p <= 1), ["top_p must be above 0 and at most 1 (off); received", top_p]),
        check(
            tf.equal(tf.size(seed), tf.size(prompts)),
            ["seed must hold one integer a prompt; received", tf.size(seed), "for", tf.size(prompts)],
        ),
    ]

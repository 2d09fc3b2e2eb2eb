"""The graph of a model that takes and gives text: what an export holds, and what Python calls."""

import tensorflow as tf

from tfcharlm.generation import limits
from tfcharlm.generation.loop import BLOCK, TokenLoop
from tfcharlm.text.codec import GraphCodec

# Tokens read at once when a text is scored: enough to fill a kernel's loop, little enough to hold their logits.
SCORED = 512

SAMPLING = (
    tf.TensorSpec([], tf.float32, "temperature"),
    tf.TensorSpec([], tf.int32, "top_k"),
    tf.TensorSpec([], tf.float32, "top_p"),
)


class TextGraph(tf.Module):
    """What a model's step function and its vocabulary make together.

    Every text begins at the start of a line: a newline is read before it, if the vocabulary has one. The noise is a
    function of (row seed, position), so a row's text depends neither on the rows beside it nor on `max_length`.

    Args:
        model: a `CharLM`, or whatever else has `vocabulary`, `variables`, `initial_state(batch_size)`,
            `step(tokens, states, mask) -> (logits, states)`, and `stateless_step(values, tokens, states)`, which takes
            the values of the variables from its caller.
        characters: how many characters each id stands for, floats (V,).
        jit_compile: whether XLA compiles the loop; a cell of the user's own might not bear it.
    """

    def __init__(self, model, characters, jit_compile=True):
        super().__init__()
        self._step = model.step
        self._initial_state = model.initial_state
        self.codec = GraphCodec(model.vocabulary)
        self._characters = tuple(characters)
        self._size = len(model.vocabulary)
        self._line_start = model.vocabulary.encode("\n", errors="ignore").tolist()
        self._loop = TokenLoop(model, jit_compile)

        def function(method, *signature, **options):
            return tf.function(method, input_signature=signature, autograph=False, **options)

        logits, *states = self._loop.specs
        # Numbers that a row holds between two tokens: what the limits count.
        self._width = sum(spec.shape[1] for spec in self._loop.specs)
        named = [tf.TensorSpec(s.shape, s.dtype, f"state_{i}") for i, s in enumerate(states)]
        ids, seed = tf.TensorSpec([None, None], tf.int32, "tokens"), tf.TensorSpec([None], tf.int64)
        number = tf.TensorSpec([], tf.int32)
        text, whole = tf.TensorSpec([None], tf.string), (number, *SAMPLING, seed)
        self.continuation = function(self._continue, text, *whole)
        self.read = function(self._read, text)
        self.write = function(self._write, seed, number, number, *SAMPLING, logits, *states)
        self.step = function(self._checked_step, ids, *named)
        self.score_chunk = function(self._score_chunk, ids, ids, tf.TensorSpec([None, None], tf.bool), *states)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "prompts"),
            tf.TensorSpec([], tf.int32, "max_length"),
            *SAMPLING,
            tf.TensorSpec([None], tf.int64, "seed"),
        ],
        autograph=False,
    )
    def generate(self, prompts, max_length, temperature, top_k, top_p, seed):
        """Continues every prompt by `max_length` tokens.

        Args:
            prompts: string (B,), UTF-8; at most 1,024 of them (fewer for a large vocabulary or many units: B times
                logits and states at most 2^24 numbers).
            max_length: int32 (), number of tokens to add, from 0; with the bytes of the longest prompt at most 131,072,
                and at most 1,048,576 times B.
            temperature, top_k, top_p: as in `tfcharlm.sampling.sample`.
            seed: int64 (B,), one for every row.

        Returns:
            `{"text": string (B,)}`, each prompt with its continuation.

        Raises:
            tf.errors.InvalidArgumentError: naming the argument that is out of bounds.
        """
        # A loaded signature does not look at shapes itself.
        prompts, seed = tf.ensure_shape(prompts, [None]), tf.ensure_shape(seed, [None])
        numbers = [tf.ensure_shape(number, []) for number in (max_length, temperature, top_k, top_p)]
        with tf.control_dependencies(limits.generate_checks(prompts, *numbers, seed, self._width)):
            prompts, seed, numbers = tf.identity(prompts), tf.identity(seed), list(map(tf.identity, numbers))
        ids = self._continue(prompts, *numbers, seed)
        return {"text": self.codec.valid(tf.strings.join([prompts, self.codec.decode(ids)]))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "texts")], autograph=False)
    def score(self, texts):
        """How probable texts are, given that each begins a line.

        Without a newline in the vocabulary the first token is given and not scored.

        Args:
            texts: string (B,), UTF-8; B as for `generate`, and B times the bytes of the longest at most 2,097,152.

        Returns:
            `{"log_probability": float64 (B,) in nats, "tokens": int32 (B,), how many were scored, "bits_per_character":
            float64 (B,)}`; of a text without tokens all are 0.

        Raises:
            tf.errors.InvalidArgumentError: naming what is out of bounds or not in the vocabulary.
        """
        texts = tf.ensure_shape(texts, [None])
        with tf.control_dependencies(limits.score_checks(texts, self._width)):
            ids = self.codec.encode(tf.identity(texts), name="texts")
        rows = tf.size(texts)
        at_once = limits.scored_at_once(rows, self._width, SCORED)
        tokens, targets, lengths = self._shifted(ids)
        length = tf.shape(tokens)[1]

        def score_chunk(begin, nats, characters, *states):
            end = tf.minimum(begin + at_once, length)
            mask = tf.range(begin, end) < lengths[:, None]
            more_nats, more_characters, *states = self._score_chunk(
                tokens[:, begin:end], targets[:, begin:end], mask, *states
            )
            return end, nats + more_nats, characters + more_characters, *states

        zeros = tf.zeros((rows,), tf.float64)
        _, nats, characters, *_ = tf.while_loop(
            lambda begin, *_: begin < length,
            score_chunk,
            (0, zeros, zeros, *self._initial_state(rows)),
            parallel_iterations=1,
        )
        bits = -nats / tf.maximum(characters, 1) / tf.math.log(tf.constant(2, tf.float64))
        return {"log_probability": nats, "tokens": lengths, "bits_per_character": bits}

    def _checked_step(self, tokens, *states):
        tokens = tf.ensure_shape(tokens, [None, None])
        states = [tf.ensure_shape(s, spec.shape) for s, spec in zip(states, self._loop.specs[1:], strict=True)]
        with tf.control_dependencies(limits.step_checks(tokens, states, self._size, self._width)):
            tokens = tf.identity(tokens)
        logits, states = self._step(tokens, states)
        return {"logits": logits} | {f"state_{i}": state for i, state in enumerate(states)}

    def _shifted(self, ids):
        """What is read and what is to be predicted, int32 (B, T) each, and how many of each row."""
        start = tf.constant(self._line_start, tf.int32)
        lengths = tf.cast(ids.row_lengths(), tf.int32)
        targets = ids.to_tensor()
        if self._line_start:
            first = tf.tile(start[None], [tf.shape(targets)[0], 1])
            return tf.concat([first, targets[:, :-1]], axis=1)[:, : tf.shape(targets)[1]], targets, lengths
        return targets[:, :-1], targets[:, 1:], tf.maximum(lengths - 1, 0)

    def _score_chunk(self, tokens, targets, mask, *states):
        """Sums over (B, T) of log-probabilities and of characters, float64 (B,) each, and the states after it."""
        logits, states = self._step(tokens, states, mask=mask)
        nats = -tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))
        characters = tf.gather(tf.constant(self._characters, tf.float64), targets)
        sums = (
            tf.reduce_sum(tf.where(mask, tf.cast(values, tf.float64), 0.0), axis=1) for values in (nats, characters)
        )
        return *sums, *states

    def _continue(self, prompts, max_length, temperature, top_k, top_p, seed):
        """The ids that follow the prompts, (B, max_length)."""
        logits, *states = self._read(prompts)
        # At least one block, of no tokens: an empty array could not be stacked.
        blocks = tf.maximum(1, max_length // BLOCK + tf.cast(max_length % BLOCK > 0, tf.int32))
        written = tf.TensorArray(tf.int32, size=blocks, element_shape=(None, BLOCK))

        def write_block(number, written, logits, *states):
            count = tf.minimum(max_length - number * BLOCK, BLOCK)
            ids, logits, *states = self._write(seed, number * BLOCK, count, temperature, top_k, top_p, logits, *states)
            return number + 1, written.write(number, ids), logits, *states

        _, written, *_ = tf.while_loop(
            lambda number, *_: number < blocks, write_block, (0, written, logits, *states), parallel_iterations=1
        )
        ids = tf.reshape(tf.transpose(written.stack(), [1, 0, 2]), (tf.size(prompts), blocks * BLOCK))
        return ids[:, :max_length]

    def _read(self, prompts):
        """The logits after the last token of every prompt, (B, V), and the states there."""
        ids = self.codec.encode(prompts, name="prompts")
        given = tf.debugging.Assert(
            tf.reduce_all(ids.row_lengths() > 0) if not self._line_start else True,
            ["prompts: an empty one starts a line, but this model knows no newline; received", prompts],
        )
        with tf.control_dependencies([given] if given is not None else []):
            lengths = tf.cast(ids.row_lengths(), tf.int32) + len(self._line_start)
            tokens = ids.to_tensor()
        start = tf.tile(tf.constant(self._line_start, tf.int32)[None], [tf.shape(tokens)[0], 1])
        tokens = tf.pad(tf.concat([start, tokens], axis=1), [[0, 0], [0, BLOCK]])
        longest = tf.reduce_max(tf.concat([lengths, [0]], axis=0))
        nothing = tf.zeros_like(lengths, tf.int64)

        def read_block(begin, *results):
            block = tokens[:, begin : begin + BLOCK], lengths - begin, nothing
            _, *results = self._loop(True, 0, tf.minimum(longest - begin, BLOCK), 1.0, 0, 1.0, *block, *results)
            return begin + BLOCK, *results

        rows = tf.shape(tokens)[0]
        first = tf.zeros((rows, self._size)), *self._initial_state(rows)
        return tf.while_loop(lambda begin, *_: begin < longest, read_block, (0, *first), parallel_iterations=1)[1:]

    def _write(self, seed, position, count, temperature, top_k, top_p, logits, *states):
        """`count` tokens from `position` of the continuation on: ids (B, BLOCK), then logits and states after them."""
        given = tf.zeros((tf.shape(seed)[0], BLOCK), tf.int32), tf.zeros_like(seed, tf.int32)
        return self._loop(False, position, count, temperature, top_k, top_p, *given, seed, logits, *states)

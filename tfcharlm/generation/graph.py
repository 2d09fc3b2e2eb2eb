"""The graph of a model that reads and writes text. An export contains it, and Python calls it."""

import tensorflow as tf

from tfcharlm.generation import limits
from tfcharlm.generation.compiled_once import CompiledOnce
from tfcharlm.generation.loop import DECODE_BLOCK, TokenLoop
from tfcharlm.generation.protocol import LanguageModel
from tfcharlm.generation.sampling import SPECS
from tfcharlm.generation.sampling_settings import Sampling
from tfcharlm.generation.scorer import Scorer
from tfcharlm.generation.spelling_steps import SpellingSteps
from tfcharlm.kernels import same_shards
from tfcharlm.text import GraphCodec


class TextGraph:
    """The step function of a model and its vocabulary, as TensorFlow functions of text.

    Every text starts at the start of a line: the model reads a newline before it, if the vocabulary has one. The noise
    is a function of (seed of the row, position). The text of a row therefore does not depend on the other rows, nor on
    `max_length`.

    Args:
        model: a `LanguageModel`, such as a `CharLM`.
        jit_compile: whether XLA compiles the loop. True by default, for speed. XLA cannot compile every cell that
            users may write; False is for those.

    Attributes:
        signatures: `{name: function}`, what an export offers: `generate`, `score` and `step`.
        smallest_tile: as for `TokenLoop`.
        loop: the `TokenLoop` of the model.

    Example:

    >>> import tensorflow as tf
    >>> import tfcharlm
    >>> from tfcharlm.generation import TextGraph
    >>> graph = TextGraph(tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)]))
    >>> graph.score(tf.constant(["ab", "b"]))["tokens"].numpy()
    array([2, 1], dtype=int32)
    """

    smallest_tile = 2

    def __init__(self, model: LanguageModel, jit_compile: bool = True) -> None:
        # What is exported as `step` are the model's own logits and states.
        self._model_step, own = _for_any_machine(model.step), model.initial_state(1)
        if model.vocabulary.spelling is not None:
            model = SpellingSteps(model, model.vocabulary.spelling)
        self._step = _for_any_machine(model.step)
        self.initial_state, self.vocabulary = model.initial_state, model.vocabulary
        self.codec = GraphCodec(model.vocabulary)
        self._size = len(model.vocabulary)
        self._line_start = model.vocabulary.line_start
        specs = [tf.TensorSpec((None, *state.shape[1:]), state.dtype) for state in model.initial_state(1)]
        specs = [tf.TensorSpec((None, self._size), tf.float32), *specs]
        self.loop = TokenLoop(model.stateless_step, model.variables, specs, jit_compile, self.smallest_tile)
        self._scorer = Scorer(self.loop, self._step)

        # A text that can be encoded, to compile with.
        token = model.vocabulary.decode([0])

        def function(method, *signature, in_graphs=False):
            return CompiledOnce(method, signature, token, in_graphs)

        logits, *states = specs
        # The numbers that a row holds between two tokens. The limits count them.
        self._width = sum(spec.shape[1] for spec in specs)
        named = [tf.TensorSpec(s.shape, s.dtype, f"state_{i}") for i, s in enumerate(states[: len(own)])]
        ids, seed = tf.TensorSpec([None, None], tf.int32, "tokens"), tf.TensorSpec([None], tf.int64)
        number = tf.TensorSpec([], tf.int32)
        text = tf.TensorSpec([None], tf.string)
        self.continuation = function(self._continue, text, number, SPECS, seed)
        self.prefill = function(self._prefill, text)
        self.decode = function(self._decode, seed, number, number, SPECS, logits, *states)
        rows = tf.TensorSpec([None], tf.int32)
        self.advance = function(self._advance, rows, rows, *states)
        self.step = function(self._checked_step, ids, *named, in_graphs=True)
        self.score_ids = function(self._scorer.score, ids, rows, logits, *states)
        self.token_scores = function(self._scorer.token_scores, ids, logits, *states)
        self.certain_logits = self._scorer.certain_logits
        prompts, texts = tf.TensorSpec([None], tf.string, "prompts"), tf.TensorSpec([None], tf.string, "texts")
        max_length, seed = tf.TensorSpec([], tf.int32, "max_length"), tf.TensorSpec([None], tf.int64, "seed")
        self.signatures = {
            "generate": function(self._generate, prompts, max_length, seed, *SPECS, in_graphs=True),
            "score": function(self._score, texts, in_graphs=True),
            "step": self.step,
        }

    def warm_up(self, rows: int) -> None:
        """Compiles what Python calls for batches of up to so many rows; many threads may call it at the same time."""
        for function in (self.prefill, self.decode, self.continuation):
            function.warm_up(rows)

    def generate(
        self, prompts: tf.Tensor, max_length: tf.Tensor, seed: tf.Tensor, *sampling: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Continues every prompt by `max_length` tokens.

        Args:
            prompts: string (B,), UTF-8. B is at most 1,024. It is less for a large vocabulary or many units: the logits
                and states of all rows are at most 2^24 numbers.
            max_length: int32 (), the number of tokens to add, from 0 up. Together with the bytes of the longest prompt
                it is at most 131,072, and this sum times B is at most 1,048,576.
            seed: int64 (B,), one per row.
            *sampling: the fields of a `Sampling`: temperature float32 (), top_k int32 (), top_p float32 ().

        Returns:
            `{"text": string (B,)}`, each prompt with its continuation.

        Raises:
            tf.errors.InvalidArgumentError: an argument is out of bounds; the error names it.
        """
        return self.signatures["generate"](prompts, max_length, seed, *sampling)

    def score(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """How probable texts are, given that each starts a line.

        If the vocabulary has no newline, the first token is given and not scored.

        Args:
            texts: string (B,), UTF-8. B is limited as for `generate`, and B times the bytes of the longest text is at
                most 2,097,152.

        Returns:
            A dictionary. "log_probability" is float64 (B,), in nats. "tokens" is int32 (B,), the number of tokens that
            were scored. "bits_per_character" is float64 (B,). All three are 0 for a text without tokens.

        Raises:
            tf.errors.InvalidArgumentError: an argument is out of bounds, or a token is not in the vocabulary; the error
                names it.
        """
        return self.signatures["score"](texts)

    def _generate(self, prompts, max_length, seed, *sampling):
        # A loaded signature does not check the shapes of its arguments.
        prompts, seed = tf.ensure_shape(prompts, [None]), tf.ensure_shape(seed, [None])
        max_length, *numbers = (tf.ensure_shape(number, []) for number in (max_length, *sampling))
        with tf.control_dependencies(
            limits.generate_checks(prompts, max_length, Sampling(*numbers), seed, self._width)
        ):
            prompts, seed, max_length, *numbers = map(tf.identity, (prompts, seed, max_length, *numbers))
        ids = self._continue(prompts, max_length, Sampling(*numbers), seed)
        return {"text": self.codec.valid(tf.strings.join([prompts, self.codec.decode(ids)]))}

    def _score(self, texts):
        texts = tf.ensure_shape(texts, [None])
        with tf.control_dependencies(limits.score_checks(texts, self._width)):
            ids = self.codec.encode(tf.identity(texts), name="texts")
        lengths = tf.cast(ids.row_lengths(), tf.int32) + len(self._line_start)
        tokens = self._with_start(ids.to_tensor())
        first = self.certain_logits(tokens), *self.initial_state(tf.size(texts))
        nats, *_ = self._scorer.score(tokens, lengths, *first)
        scored = tf.maximum(lengths - 1, 0)
        characters = tf.gather(tf.constant(self.vocabulary.characters_per_token, tf.float64), tokens[:, 1:])
        is_scored = tf.range(tf.shape(characters)[1]) < scored[:, None]
        characters = tf.reduce_sum(tf.where(is_scored, characters, 0.0), axis=1)
        bits = -nats / tf.maximum(characters, 1) / tf.math.log(tf.constant(2, tf.float64))
        return {"log_probability": nats, "tokens": scored, "bits_per_character": bits}

    def _checked_step(self, tokens, *states):
        tokens = tf.ensure_shape(tokens, [None, None])
        specs = self.loop.specs[1 : len(states) + 1]
        states = [tf.ensure_shape(state, spec.shape) for state, spec in zip(states, specs, strict=True)]
        with tf.control_dependencies(limits.step_checks(tokens, states, self._size, self._width)):
            tokens = tf.identity(tokens)
        logits, states = self._model_step(tokens, states)
        return {"logits": logits} | {f"state_{i}": state for i, state in enumerate(states)}

    def _advance(self, parents, tokens, *states):
        """One token in each row, (B,), after the states of the rows `parents`, (B,): logits (B, V) and states.

        That there is one token is known when the graph is made. It takes a third of the time of `step`.
        """
        logits, states = self._step(tokens[:, None], [tf.gather(state, parents) for state in states])
        return logits[:, 0], *states

    def _with_start(self, tokens):
        """Tokens of texts as the model reads them: each row starts a line."""
        start = tf.tile(tf.constant(self._line_start, tf.int32)[None], [tf.shape(tokens)[0], 1])
        return tf.concat([start, tokens], axis=1)

    def _continue(self, prompts, max_length, sampling, seed):
        """The ids that follow the prompts, (B, max_length)."""
        logits, *states = self._prefill(prompts)
        # At least one block, which may have 0 tokens: TensorFlow cannot stack an empty array.
        blocks = tf.maximum(1, max_length // DECODE_BLOCK + tf.cast(max_length % DECODE_BLOCK > 0, tf.int32))
        written = tf.TensorArray(tf.int32, size=blocks, element_shape=(None, DECODE_BLOCK))

        def decode_block(number, written, logits, *states):
            count = tf.minimum(max_length - number * DECODE_BLOCK, DECODE_BLOCK)
            ids, logits, *states = self._decode(seed, number * DECODE_BLOCK, count, sampling, logits, *states)
            return number + 1, written.write(number, ids), logits, *states

        _, written, *_ = tf.while_loop(
            lambda number, *_: number < blocks, decode_block, (0, written, logits, *states), parallel_iterations=1
        )
        ids = tf.reshape(tf.transpose(written.stack(), [1, 0, 2]), (tf.size(prompts), blocks * DECODE_BLOCK))
        return ids[:, :max_length]

    def _prefill(self, prompts):
        """The logits after the last token of every prompt, (B, V), and the states there."""
        ids = self.codec.encode(prompts, name="prompts")
        given = tf.debugging.Assert(
            tf.reduce_all(ids.row_lengths() > 0) if not self._line_start else True,
            ["prompts must not be empty, because this model has no newline to start a line; received", prompts],
        )
        with tf.control_dependencies([given] if given is not None else []):
            lengths = tf.cast(ids.row_lengths(), tf.int32) + len(self._line_start)
            tokens = ids.to_tensor()
        tokens = tf.pad(self._with_start(tokens), [[0, 0], [0, DECODE_BLOCK]])
        longest = tf.reduce_max(tf.concat([lengths, [0]], axis=0))
        nothing = tf.zeros_like(lengths, tf.int64)

        def prefill_block(begin, *results):
            block = tokens[:, begin : begin + DECODE_BLOCK], lengths - begin, nothing
            count = tf.minimum(longest - begin, DECODE_BLOCK)
            _, *results = self.loop(True, 0, count, Sampling().tensors(), *block, *results)
            return begin + DECODE_BLOCK, *results

        rows = tf.shape(tokens)[0]
        first = tf.zeros((rows, self._size)), *self.initial_state(rows)
        return tf.while_loop(lambda begin, *_: begin < longest, prefill_block, (0, *first), parallel_iterations=1)[1:]

    def _decode(self, seed, position, count, sampling, logits, *states):
        """Writes `count` tokens from `position` of the continuation: ids (B, DECODE_BLOCK), logits and states."""
        given = tf.zeros((tf.shape(seed)[0], DECODE_BLOCK), tf.int32), tf.zeros_like(seed, tf.int32)
        return self.loop(False, position, count, sampling, *given, seed, logits, *states)


def _for_any_machine(step):
    """The step with the same graph on every machine: that of an export, which needs nothing but TensorFlow."""

    def same_step(*arguments, **named):
        with same_shards():
            return step(*arguments, **named)

    return same_step

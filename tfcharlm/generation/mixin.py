"""What a language model does with text, from Python: continue it, score it, say what comes next."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfcharlm.generation.adapting import adaptive_generate, adaptive_log_probabilities, adaptive_score
from tfcharlm.generation.beams import beam_search
from tfcharlm.generation.dynamic_evaluation import DynamicEvaluation
from tfcharlm.generation.graph_owner import GraphOwner
from tfcharlm.generation.limits import ROWS
from tfcharlm.generation.sampling_settings import Sampling
from tfcharlm.generation.scores import next_token_probabilities, score, token_log_probabilities
from tfcharlm.generation.streaming import generate, stream


class GenerationMixin(GraphOwner):
    """The methods of a model that read and write text. The class that inherits them must be a `LanguageModel`.

    `compiles_generation` says whether XLA compiles the loop over tokens. False runs it without XLA.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.generation import GenerationMixin
    >>> issubclass(tfcharlm.CharLM, GenerationMixin)
    True
    """

    def generate(
        self,
        prompts: str | Sequence[str],
        max_length: int = 400,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
        samples: int = 1,
        callback: Callable[[int, str], Any] | None = None,
        adapt: bool | DynamicEvaluation = False,
    ) -> Any:
        """Continues prompts. The model reads each prompt as the start of a line.

        Args:
            prompts: a string or a list of strings; they may be empty. An array or a tensor of strings is a list, too.
            max_length: the number of tokens to add to each prompt; 400 by default.
            temperature: 1 (default) samples from the distribution of the model. Text is safer below 1, wilder above 1.
                0 takes the most likely token every time (greedy).
            top_k: draws among the k most likely tokens only. 0 (default) is off.
            top_p: draws among the fewest tokens that together have this probability. 1 (default) is off.
            seed: an integer s, which gives the rows the seeds s, s + 1, ..., or a list with one seed per row. None
                (default) draws a new seed every time. The same prompt with the same row seed and settings gives the
                same text, whatever the other rows are.
            stop: None (default), a string or a list of strings. A text ends before the first of them after its prompt.
            samples: how many texts to write for each prompt; 1 by default, at most 2^20. With more than one, the result
                has a list of texts for each prompt, and every sample is a row with its own seed.
            callback: called as `callback(row, piece)` with each piece of the continuation of a row as soon as it is
                made; None by default.
            adapt: whether the model learns from each prompt before it continues it, as in `score`. False by default. It
                is for prompts of several thousand tokens.

        Returns:
            The prompts with their continuations: a string if `prompts` is a string, else a list.

        Raises:
            ValueError: a prompt has a token that is not in the vocabulary, or an argument is out of bounds.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> names = model.generate(["a", "b"], max_length=30, seed=1, stop="\\n", samples=3)
        >>> len(names), len(names[0]), any("\\n" in name for name in names[0])
        (2, 3, False)
        """
        sampling = Sampling(temperature, top_k, top_p)
        if adapt is not False:
            return adaptive_generate(self, prompts, adapt, max_length, sampling, seed, stop, samples, callback)
        return generate(self._text_graph_in_python(), prompts, max_length, sampling, seed, stop, samples, callback)

    def stream(
        self,
        prompt: str,
        max_length: int = 400,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | Sequence[int] | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Iterator[str]:
        """Continues one prompt piece by piece.

        Args:
            prompt: a string, read as the start of a line; it may be empty.
            max_length, temperature, top_k, top_p, seed, stop: as for `generate`.

        Returns:
            An iterator over strings. Joined, they are the text that `generate` adds to the prompt.

        Raises:
            ValueError: as `generate`, before the first piece is made.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> "a" + "".join(model.stream("a", max_length=40, seed=1)) == model.generate("a", max_length=40, seed=1)
        True
        """
        return stream(self._text_graph_in_python(), prompt, max_length, Sampling(temperature, top_k, top_p), seed, stop)

    def warm_up(self, rows: int = 1) -> None:
        """Compiles what `generate` and `stream` need, so that the first text does not wait for it.

        Many threads may call it, or `generate`, at the same time; one of them compiles.

        Args:
            rows: the largest batch, prompts times samples; 1 by default. Up to 8, 32 and more rows are compiled apart.

        Raises:
            ValueError: `rows` is not a number of rows.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> model.warm_up(rows=3)
        """
        self._text_graph_in_python().warm_up(ROWS.check("rows", rows))

    def beam_search(self, prompt: str, max_length: int = 40, beams: int = 8) -> list[tuple[str, float]]:
        """The most likely continuations that a search with a fixed number of candidates finds.

        Args:
            prompt: a string, read as the start of a line; it may be empty.
            max_length: the number of tokens to add; 40 by default.
            beams: the number of candidates to keep after every token; 8 by default, at most 2^20. An exhaustive search
                would need V^max_length of them.

        Returns:
            At most `beams` pairs `(text, log-probability of the continuation in nats)`, the most likely first.

        Raises:
            ValueError: as `generate`.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> best, *others = model.beam_search("a", max_length=2, beams=9)
        >>> len(others), best[1] >= others[0][1], best[0][:1]
        (8, True, 'a')

        Reference: Lowerre (1976), The HARPY speech recognition system.
        """
        return beam_search(self._text_graph_in_python(), prompt, max_length, beams)

    def score(
        self, texts: str | Sequence[str], adapt: bool | DynamicEvaluation = False
    ) -> dict[str, np.ndarray | float | int]:
        """How probable texts are, each given that it starts a line.

        If the vocabulary has no newline, the first token of a text is given and not scored.

        Args:
            texts: a string or a list of strings, of any length.
            adapt: whether a copy of the model learns from each text while it reads it. True starts from the weights of
                the model for each text. A `DynamicEvaluation` of the model keeps what it learned from the texts before.
                False by default. It takes up to three times as long, and then a few seconds for a new
                `DynamicEvaluation`. A prediction never depends on the token that it predicts. This model stays as
                it is.

        Returns:
            A dictionary of numbers if `texts` is a string, else of arrays (B,). "log_probability" is in nats. "tokens"
            is the number of tokens that were scored. The others are "bits_per_character", and "perplexity" per token.
            A text without tokens has 0, 0, 0 and 1.

        Raises:
            ValueError: a text has a token that is not in the vocabulary.

        Example:

        >>> import numpy as np
        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> scores = model.score([a + b for a in "ab\\n" for b in "ab\\n"])
        >>> round(float(sum(np.exp(scores["log_probability"]))), 6)
        1.0
        """
        if adapt is not False:
            return adaptive_score(self, texts, adapt)
        return score(self._text_graph_in_python(), texts)

    def token_log_probabilities(self, text: str, adapt: bool | DynamicEvaluation = False) -> np.ndarray:
        """The log-probability of every token of a text, given that it starts a line: what `score` adds up.

        Args:
            text: a string of any length. It is read once, in blocks.
            adapt: as for `score`; False by default.

        Returns:
            float64 array (tokens,), in nats; without the first token if the vocabulary has no newline, as for `score`.

        Raises:
            ValueError: the text has a token that is not in the vocabulary.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> round(float(sum(model.token_log_probabilities("abba"))) / model.score("abba")["log_probability"], 5)
        1.0
        """
        if adapt is not False:
            return adaptive_log_probabilities(self, text, adapt)
        return token_log_probabilities(self._text_graph_in_python(), text)

    def next_token_probabilities(self, prompt: str) -> dict[str, float]:
        """The probability of every token after a prompt.

        Args:
            prompt: a string, read as the start of a line; it may be empty.

        Returns:
            `{token: probability}` for all tokens, the most likely first. At level "byte", the token of a byte is
            `chr(byte)`.

        Raises:
            ValueError: the prompt has a token that is not in the vocabulary.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
        >>> round(sum(model.next_token_probabilities("ab").values()), 6)
        1.0
        """
        return next_token_probabilities(self._text_graph_in_python(), prompt)

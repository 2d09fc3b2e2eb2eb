"""What a language model does with text, from Python: continue it, score it, say what comes next."""

from tfcharlm.generation.beams import beam_search
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.sampling import Sampling
from tfcharlm.generation.scores import next_token_probabilities, score
from tfcharlm.generation.streaming import generate, stream


class GenerationMixin:
    """Text in, text out, for a `LanguageModel`. `compiles_generation` says whether XLA can compile its step."""

    _text_graph = None
    compiles_generation = True

    def generate(
        self, prompts, max_length=400, temperature=1.0, top_k=0, top_p=1.0, seed=None, stop=None, samples=1,
        callback=None,
    ):  # fmt: skip
        """Continues prompts, each taken as the beginning of a line.

        Args:
            prompts: a string or a list of strings; they may be empty.
            max_length: number of tokens to add to each.
            temperature: 0 takes the most likely token every time (greedy); below 1 is safer, above 1 wilder than the
                model.
            top_k: draw among the k most likely tokens only; 0 is off.
            top_p: draw among the fewest tokens that have this much probability together; 1 is off.
            seed: an integer s, which stands for the rows' seeds s, s + 1, ..., or a list of one seed a row; None takes
                a new one each time. The same prompt with the same row seed and settings gives the same text,
                whatever rows are beside it (unless, in more than 8 rows, a draw falls within rounding).
            stop: None, a string or a list of strings: a text ends before the first of them that follows its prompt.
            samples: how many texts of each prompt; with more than one, a list of them stands for each prompt, and
                there is a row, with a seed, for each sample.
            callback: called as `callback(row, piece)` with each piece of a row's continuation as it is made.

        Returns:
            The prompts with their continuations: a string if `prompts` is one, else a list.

        Raises:
            ValueError: a prompt with a character that the vocabulary does not have, or an argument out of bounds.

        Example:

        >>> model = CharLM(Vocabulary("ab\\n"), [RNNCell(3)])
        >>> names = model.generate(["a", "b"], max_length=30, seed=1, stop="\\n", samples=3)
        >>> len(names), len(names[0]), any("\\n" in name for name in names[0])
        (2, 3, False)
        """
        sampling = Sampling(temperature, top_k, top_p)
        return generate(self.text_graph(), prompts, max_length, sampling, seed, stop, samples, callback)

    def stream(self, prompt, max_length=400, temperature=1.0, top_k=0, top_p=1.0, seed=None, stop=None):
        """Continues one prompt piece by piece.

        Args:
            prompt: a string, taken as the beginning of a line; it may be empty.
            max_length, temperature, top_k, top_p, seed, stop: as for `generate`.

        Returns:
            An iterator over strings; joined, they are what `generate` adds to the prompt.

        Raises:
            ValueError: as `generate`, before the first piece is made.

        Example:

        >>> model = CharLM(Vocabulary("ab\\n"), [RNNCell(3)])
        >>> "a" + "".join(model.stream("a", max_length=40, seed=1)) == model.generate("a", max_length=40, seed=1)
        True
        """
        return stream(self.text_graph(), prompt, max_length, Sampling(temperature, top_k, top_p), seed, stop)

    def beam_search(self, prompt, max_length=40, beams=8):
        """The likeliest continuations that a search with so many candidates finds.

        Args:
            prompt: the beginning of a line.
            max_length: number of tokens to add.
            beams: candidates kept at every token; V^max_length of them would be a search through everything.

        Returns:
            At most `beams` pairs `(text, log-probability of the continuation in nats)`, the likeliest first.

        Raises:
            ValueError: as `generate`.

        Example:

        >>> model = CharLM(Vocabulary("ab\\n"), [RNNCell(3)])
        >>> best, *others = model.beam_search("a", max_length=2, beams=9)
        >>> len(others), best[1] >= others[0][1], best[0][:1]
        (8, True, 'a')

        Reference: Lowerre (1976), The HARPY speech recognition system.
        """
        return beam_search(self.text_graph(), prompt, max_length, beams)

    def score(self, texts):
        """How probable texts are, each given that it begins a line.

        Without a newline in the vocabulary the first token of a text is given and not scored.

        Args:
            texts: a string or a list of strings, of any length.

        Returns:
            `{"log_probability": in nats, "tokens": how many were scored, "bits_per_character", "perplexity": per
            token}`: numbers if `texts` is a string, else arrays (B,). A text without tokens has 0, 0, 0 and 1.

        Raises:
            ValueError: a character that the vocabulary does not have.

        Example:

        >>> model = CharLM(Vocabulary("ab\\n"), [RNNCell(3)])
        >>> scores = model.score([a + b for a in "ab\\n" for b in "ab\\n"])
        >>> round(float(sum(np.exp(scores["log_probability"]))), 6)
        1.0
        """
        return score(self.text_graph(), texts)

    def next_token_probabilities(self, prompt):
        """What may come after a prompt.

        Args:
            prompt: a string, taken as the beginning of a line; it may be empty.

        Returns:
            `{token: probability}` for all tokens, the likeliest first. At level "byte" a token is the character of the
            byte's number, `chr(byte)`.

        Raises:
            ValueError: a character that the vocabulary does not have.

        Example:

        >>> model = CharLM(Vocabulary("ab\\n"), [RNNCell(3)])
        >>> round(sum(model.next_token_probabilities("ab").values()), 6)
        1.0
        """
        return next_token_probabilities(self.text_graph(), prompt)

    def text_graph(self):
        """The `TextGraph` of this model, whose functions are compiled when they are first called."""
        if self._text_graph is None:
            self._text_graph = TextGraph(self, self.compiles_generation)
        return self._text_graph

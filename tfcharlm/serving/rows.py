"""One row of the batch: what it has still to read, what it has written, and the pieces of text that come of it."""

from collections.abc import Sequence

import numpy as np

from tfcharlm.generation import ROW_BLOCK, RowBlock, TextStreamer
from tfcharlm.serving.requests import Piece, TextRequest, TokenScore
from tfcharlm.text import Vocabulary


class Row:
    """The state of one text between two blocks.

    Args:
        request: a `TextRequest`.
        vocabulary: the `Vocabulary` of the model.
        results: the logits and states before the first token, (1, ...) each.
    """

    def __init__(self, request: TextRequest, vocabulary: Vocabulary, results: Sequence[np.ndarray]) -> None:
        self.request, self.results = request, results
        self.written, self.ended, self.cancelled = 0, False, False
        prompt = vocabulary.encode(request.prompt)
        self._vocabulary = vocabulary
        self._to_read = np.concatenate([np.array(vocabulary.line_start, np.int32), prompt])
        self._text = TextStreamer(vocabulary, request.stops)
        self._scores = None if request.likely is None else _Scores(vocabulary, request)
        # The line start is not part of the text. Without one, nothing predicts the first token.
        self._unscored = len(vocabulary.line_start)
        self._has_first = not vocabulary.line_start
        self._echoed = False

    @property
    def given(self) -> np.ndarray:
        """The next ids to read, at most a block."""
        return self._to_read[:ROW_BLOCK]

    @property
    def tokens_left(self) -> int:
        """How many tokens it has still to read and to write."""
        return len(self._to_read) + self.request.max_tokens - self.written

    def add(self, block: RowBlock, row: int) -> None:
        """Takes the row of a block, and delivers the piece of text that it makes."""
        self.results = [array[row : row + 1] for array in block.results]
        count = block.ids.shape[1]
        read = min(len(self._to_read), count)
        self._to_read = self._to_read[read:]
        new = block.ids[row, read : read + self.request.max_tokens - self.written]
        self.written += len(new)
        self.ended = not len(self._to_read) and self.written == self.request.max_tokens
        text = self._text.add(new, final=self.ended) if not len(self._to_read) else ""
        self.ended |= self._text.ended
        if self.request.echo and not self._echoed and not len(self._to_read):
            text, self._echoed = self.request.prompt + text, True
        scores = self._score(block, row, read, len(new), text)
        reason = ("stop" if self._text.stopped else "length") if self.ended else None
        if text or scores or reason:
            self.request.deliver(Piece(text, scores, reason, self.written))

    def fail(self) -> None:
        """Ends the text, because the block could not be computed."""
        self.ended = True
        self.request.deliver(Piece("", (), "error", self.written))

    def _score(self, block, row, read, written, text):
        if self._scores is None:
            return ()
        first = min(self._unscored, read)
        self._unscored -= first
        begin = first if self.request.echo else read
        for i in range(begin, read + written):
            self._scores.add(block, row, i, is_given=self._has_first)
            self._has_first = False
        return self._scores.of_text(text, self.ended)


class _Scores:
    """The scores of tokens, handed out with the text that they are part of."""

    def __init__(self, vocabulary: Vocabulary, request: TextRequest) -> None:
        self._vocabulary, self._likely = vocabulary, request.likely or 0
        self._characters = TextStreamer(vocabulary)
        self._offset = 0 if request.echo else len(request.prompt)
        self._handed_out = self._offset
        self._waiting: list[TokenScore] = []

    def add(self, block, row, i, is_given):
        tokens = self._vocabulary.tokens
        pairs = zip(block.likely_ids[row, i], block.likely_log_probabilities[row, i], strict=True)
        likely = {tokens[other]: float(nats) for other, nats in list(pairs)[: self._likely]}
        nats = None if is_given else float(block.log_probabilities[row, i])
        text = self._characters.add(block.ids[row, i : i + 1], final=False)
        self._waiting.append(TokenScore(text, self._offset, nats, {} if is_given else likely))
        self._offset += len(text)

    def of_text(self, text, ended):
        """The scores of the tokens that begin in the text which is handed out now."""
        self._handed_out += len(text)
        ready = [score for score in self._waiting if score.offset < self._handed_out]
        self._waiting = [] if ended else self._waiting[len(ready) :]
        return tuple(ready)

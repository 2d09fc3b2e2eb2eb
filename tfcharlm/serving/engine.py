"""Continuous batching: one thread writes many texts at once, which begin and end independently of each other."""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcharlm.generation import ROW_BLOCK, RowBlocks, TextGraph
from tfcharlm.serving.requests import TextRequest
from tfcharlm.serving.rows import Row

# Seconds of a block, about, so that text comes often enough; its length follows from how fast the last one was.
SECONDS_PER_BLOCK = 0.15
# Tokens of a block while most texts are new; and of any block, at least.
FIRST_TOKENS, FEWEST_TOKENS = 16, 4
# The fixed cost of a block, as tokens of a full batch: to make pieces of text of it and to send them takes as long (an
# AMD EPYC with AVX-512, 2026-11-30).
TOKENS_OF_PIECES = 12
LOGGER = logging.getLogger("tfcharlm.serving")


class QueueFullError(Exception):
    """More texts are waiting than the queue holds; the client should try again later."""


class Engine:
    """Writes texts with one model, at most `rows` at the same time; others wait in a queue.

    Between two blocks of at most 128 tokens, rows that have ended leave, and texts that wait join. So each text is what
    `CharLM.generate` gives for its prompt and seed, whoever else is served.

    Args:
        graph: the `TextGraph` of a model.
        rows: texts that are written at the same time; 64 by default, from where on more rows are hardly faster.
        queue: texts that may wait; 256 by default, the work of some seconds.

    Example:

    >>> import queue
    >>> import tfcharlm
    >>> from tfcharlm.generation import Sampling
    >>> from tfcharlm.serving import Engine, TextRequest
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)])
    >>> pieces = queue.SimpleQueue()
    >>> with Engine(model.text_graph(), rows=2) as engine:
    ...     ticket = engine.submit([TextRequest("a", 5, 7, Sampling(), (), None, True, pieces.put)])
    ...     piece = pieces.get()
    >>> piece.text == model.generate("a", max_length=5, seed=7), piece.finish_reason
    (True, 'length')
    """

    def __init__(self, graph: TextGraph, rows: int = 64, queue: int = 256) -> None:
        self.max_rows, self.max_waiting = rows, queue
        self.vocabulary = graph.vocabulary
        self._blocks = RowBlocks(graph)
        self._first = self._blocks.first_results(1)
        self._waiting: collections.deque[Row] = collections.deque()
        self._active: list[Row] = []
        self._changed = threading.Condition()
        self._closing = False
        self._at_once = FIRST_TOKENS
        self._thread = threading.Thread(target=self._run, name="tfcharlm-engine", daemon=True)
        self.tokens_written = 0

    def __enter__(self) -> "Engine":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Compiles what the batches need, and starts the thread."""
        self._blocks.warm_up(self.max_rows)
        self._thread.start()

    def close(self, timeout: float | None = None) -> bool:
        """Takes no more texts, and waits until those it has are written.

        Args:
            timeout: seconds to wait at most; None (default) for as long as it takes. Then the rest is given up.

        Returns:
            Whether all texts were written.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        with self._changed:
            rest = [*self._waiting, *self._active]
            for row in rest:
                row.cancelled = True
        for row in rest:
            row.fail()
        return not rest

    @property
    def is_closing(self) -> bool:
        """Whether it takes no more texts."""
        return self._closing

    @property
    def num_active(self) -> int:
        """Texts that are being written."""
        return len(self._active)

    @property
    def num_waiting(self) -> int:
        """Texts in the queue."""
        return len(self._waiting)

    def submit(self, requests: Sequence[TextRequest]) -> "Ticket":
        """Puts texts into the queue, all or none of them.

        Raises:
            QueueFullError: there is no room for them, or the engine is closing.
        """
        rows = [Row(request, self.vocabulary, self._first) for request in requests]
        with self._changed:
            free = self.max_rows - len(self._active) + self.max_waiting - len(self._waiting)
            if self._closing or len(rows) > free:
                raise QueueFullError
            self._waiting.extend(rows)
            self._changed.notify_all()
        return Ticket(rows, self._give_up)

    def _give_up(self, rows: Sequence[Row]) -> None:
        """Frees rows. Those in the queue leave it now; those that are being written leave after their block."""
        with self._changed:
            for row in rows:
                row.cancelled = True
            if not all(row.ended for row in rows):
                self._waiting = collections.deque(row for row in self._waiting if not row.cancelled)

    def _run(self) -> None:
        while self._admit():
            self._advance(self._active)

    def _admit(self) -> bool:
        """Lets texts leave and join. Waits until there is one; False if there will be none."""
        with self._changed:
            while True:
                self._active = [row for row in self._active if not (row.ended or row.cancelled)]
                while self._waiting and len(self._active) < self.max_rows:
                    row = self._waiting.popleft()
                    if not row.cancelled:
                        self._active.append(row)
                if self._active:
                    return True
                if self._closing:
                    return False
                self._changed.wait()

    def _advance(self, rows: list[Row]) -> None:
        given = [row.given for row in rows]
        left = [row.tokens_left for row in rows]
        # When most texts are about to begin, others are about to come; and a first piece should come soon.
        new = sum(not row.written and len(row.given) < FIRST_TOKENS for row in rows)
        most = min(self._at_once, FIRST_TOKENS) if 2 * new > len(rows) else self._at_once
        # Rows that only read have nothing to show before the end of their prompts.
        count = max(_best_length(left, most), min(self._at_once, *map(len, given)), 1)
        began = time.perf_counter()
        # Truncation and scores take twice the time of all rows that are computed with them.
        plain = [row for row in rows if not (row.request.likely or row.request.sampling.truncates)]
        for group in (plain, [row for row in rows if row not in plain]):
            try:
                self._compute(group, count)
            except Exception:
                # Such as out of memory. The other requests should still be served.
                LOGGER.exception("a block of %d texts could not be computed", len(group))
                for row in group:
                    row.fail()
        possible = int(SECONDS_PER_BLOCK / max(time.perf_counter() - began, 1e-6) * count)
        self._at_once = min(max(possible, FEWEST_TOKENS), ROW_BLOCK)

    def _compute(self, rows: list[Row], count: int) -> None:
        if not rows:
            return
        results: list[Any] = [np.concatenate(parts) for parts in zip(*(row.results for row in rows), strict=True)]
        settings = [(row.written, row.request.seed, row.request.sampling) for row in rows]
        written, seeds, sampling = map(list, zip(*settings, strict=True))
        given = [row.given[:count] for row in rows]
        with_likely = any(row.request.likely for row in rows)
        block = self._blocks(count, given, written, seeds, sampling, results, with_likely)
        for i, row in enumerate(rows):
            if not row.cancelled:
                before = row.written
                row.add(block, i)
                self.tokens_written += row.written - before


def _best_length(left: Sequence[int], most: int) -> int:
    """The length of a block that makes the most of its time: a row that ends before the others computes for nobody."""

    def tokens_in_time(length: int) -> float:
        return sum(min(tokens, length) for tokens in left) / (length + TOKENS_OF_PIECES)

    return max({min(tokens, most) for tokens in left}, key=tokens_in_time)


class Ticket:
    """The texts of one client in an `Engine`."""

    def __init__(self, rows: Sequence[Row], give_up: Callable[[Sequence[Row]], None]) -> None:
        self._rows, self._give_up = rows, give_up

    def cancel(self) -> None:
        """Frees the rows, because nobody waits for their texts any more."""
        self._give_up(self._rows)

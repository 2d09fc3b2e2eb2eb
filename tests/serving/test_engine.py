"""Continuous batching: each text is what `generate` writes alone, whoever else is served."""

import queue
import threading

import numpy as np
import pytest
from helpers.serving import LETTERS

from tfcharlm.generation import Sampling
from tfcharlm.serving import Engine, QueueFullError, TextRequest
from tfcharlm.serving.engine import SECONDS_PER_BLOCK, TOKENS_OF_PIECES, _best_length
from tfcharlm.serving.rows import Row

PATIENCE = 60


def collect(pieces, count):
    """The texts, scores and reasons of `count` requests, by number."""
    texts, scores, reasons = {}, {}, {}
    while len(reasons) < count:
        number, piece = pieces.get(timeout=PATIENCE)
        assert number not in reasons
        texts[number] = texts.get(number, "") + piece.text
        scores[number] = [*scores.get(number, []), *piece.scores]
        if piece.finish_reason:
            reasons[number] = piece.finish_reason
    return texts, scores, reasons


def random_request(rng, number, pieces, is_plain):
    """A request and the arguments with which `generate` writes the same. A plain one needs no truncation, no scores."""
    prompt = "".join(rng.choice(list(LETTERS), rng.integers(0, 150 if rng.random() < 0.2 else 12)))
    arguments = {
        "max_length": int(rng.integers(0, 90)),
        "seed": int(rng.integers(-(2**62), 2**62)),
        "temperature": float(rng.choice([0, 0.5, 1, 1.7])),
        "top_k": 0 if is_plain else int(rng.choice([0, 0, 3])),
        "top_p": 1.0 if is_plain else float(rng.choice([1, 1, 0.6])),
        "stop": [".", "a,"] if rng.random() < 0.3 else None,
    }
    sampling = Sampling(*(arguments[name] for name in Sampling._fields)).checked()
    stops, likely = tuple(arguments["stop"] or ()), None if is_plain or rng.random() < 0.6 else int(rng.integers(6))
    request = TextRequest(
        prompt, arguments["max_length"], arguments["seed"], sampling, stops, likely, bool(rng.integers(2)),
        lambda piece: pieces.put((number, piece)),
    )  # fmt: skip
    return request, {"prompts": prompt, **arguments}


def plain_request(length, number, pieces):
    def deliver(piece):
        pieces.put((number, piece))

    return TextRequest("a", length, number, Sampling(), (), None, False, deliver)


@pytest.fixture(scope="module")
def engine(served_model):
    with Engine(served_model.text_graph(), rows=11, queue=1000) as engine:
        yield engine


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_texts_in_random_company_are_those_written_alone(rng, served_model, engine, count):
    """Prompts of unequal lengths, with all settings, that arrive while others are written."""
    pieces, made = queue.SimpleQueue(), []
    for number in range(count):
        # Both loops write: first for plain texts only, then now and then for another one, then for all kinds.
        is_plain = number < count / 2 or (number < 3 * count / 4 and rng.random() < 0.9)
        made.append(random_request(rng, number, pieces, is_plain))
        while engine.num_waiting > 900:
            threading.Event().wait(0.01)
        engine.submit([made[-1][0]])
        if rng.random() < 0.1:
            threading.Event().wait(0.02)
    texts, scores, _ = collect(pieces, count)
    for number, (request, arguments) in enumerate(made):
        alone = served_model.generate(**arguments)
        expected = alone if request.echo else alone[len(request.prompt) :]
        assert texts[number] == expected, request
        if request.likely is None:
            assert not scores[number]
            continue
        assert "".join(score.token for score in scores[number]) == expected
        begin = 0 if request.echo else len(request.prompt)
        np.testing.assert_allclose(
            [score.log_probability for score in scores[number]],
            served_model.token_log_probabilities(alone)[begin:],
            atol=2e-4,
        )
        assert [score.offset for score in scores[number]] == list(range(begin, len(alone)))
        assert all(len(score.likely) == request.likely for score in scores[number])


def test_a_block_makes_the_most_of_its_time(rng):
    for _ in range(50):
        left, most = rng.integers(1, 300, size=rng.integers(1, 30)).tolist(), int(rng.integers(1, 129))
        chosen = _best_length(left, most)

        def tokens_in_time(length, left=left):
            return np.minimum(left, length).sum() / (length + TOKENS_OF_PIECES)

        assert 1 <= chosen <= most
        assert tokens_in_time(chosen) == pytest.approx(max(map(tokens_in_time, range(1, most + 1))))
    assert _best_length([100] * 64, 128) == 100, "all end together"
    assert _best_length([1] + [200] * 63, 128) == 128, "one that ends does not stop the others"


def test_blocks_are_short_at_first_and_as_long_as_the_time_allows(served_model, monkeypatch):
    pieces, counts, seconds = queue.SimpleQueue(), [], []
    engine = Engine(served_model.text_graph(), rows=4)
    blocks, clock = engine._blocks, [0.0]
    monkeypatch.setattr("tfcharlm.serving.engine.time.perf_counter", lambda: clock[0])

    def timed(count, *arguments):
        counts.append(count)
        clock[0] += count * seconds[0]
        return blocks(count, *arguments)

    engine._blocks = timed
    # How long a token takes, and the blocks of a text of 300 tokens that follow from it.
    for per_token, expected in ((1e-4, [16, 128, 128, 28]), (SECONDS_PER_BLOCK / 20.5, [16] + [20] * 14)):
        counts.clear()
        seconds[:] = [per_token]
        engine._active = [Row(plain_request(300, 1, pieces), served_model.vocabulary, engine._first)]
        while not engine._active[0].ended:
            engine._advance(engine._active)
        # The prompt has two tokens, with the start of the line.
        assert np.abs(np.array(counts[: len(expected)]) - expected).max() <= 2 and sum(counts) == 302
    # Texts that read long prompts have not just come. A block of them takes no more time than others.
    long = plain_request(5, 2, pieces)._replace(prompt="ab" * 200)
    engine._active = [Row(long, served_model.vocabulary, engine._first) for _ in range(3)]
    counts.clear()
    engine._advance(engine._active)
    assert counts == [20]


def test_likely_tokens_are_the_most_probable_ones(served_model, engine):
    pieces = queue.SimpleQueue()
    engine.submit([TextRequest("ab", 3, 5, Sampling(), (), 5, False, lambda piece: pieces.put((0, piece)))])
    texts, scores, reasons = collect(pieces, 1)
    assert reasons == {0: "length"}
    for i, score in enumerate(scores[0]):
        expected = served_model.next_token_probabilities("ab" + texts[0][:i])
        assert list(score.likely) == list(expected)[:5]
        np.testing.assert_allclose(np.exp(list(score.likely.values())), list(expected.values())[:5], rtol=1e-4)


def test_a_cancelled_text_frees_its_row(engine):
    pieces = queue.SimpleQueue()
    long = [TextRequest("a", 10**6, i, Sampling(), (), None, False, lambda piece: None) for i in range(30)]
    ticket = engine.submit(long)
    engine.submit([TextRequest("a", 3, 5, Sampling(), (), None, False, lambda piece: pieces.put((0, piece)))])
    with pytest.raises(queue.Empty):
        pieces.get(timeout=0.3)
    ticket.cancel()
    assert len(collect(pieces, 1)[0][0]) == 3
    deadline = threading.Event()
    for _ in range(600):
        if not engine.num_active and not engine.num_waiting:
            return
        deadline.wait(0.1)
    pytest.fail("rows are not free")


def test_a_full_queue_takes_all_texts_of_a_client_or_none(served_model):
    def request(tokens):
        return TextRequest("a", tokens, 1, Sampling(), (), None, False, lambda piece: None)

    engine = Engine(served_model.text_graph(), rows=2, queue=3)
    engine.submit([request(9)] * 4)
    with pytest.raises(QueueFullError):
        engine.submit([request(9)] * 2)
    engine.submit([request(9)])
    assert engine.num_waiting == 5


def test_texts_are_finished_before_the_end(served_model):
    pieces = queue.SimpleQueue()
    engine = Engine(served_model.text_graph(), rows=3)
    engine.start()
    for i in range(7):
        engine.submit([plain_request(200, i, pieces)])
    assert engine.close()
    texts, _, reasons = collect(pieces, 7)
    assert {len(text) for text in texts.values()} == {200} and set(reasons.values()) == {"length"}
    with pytest.raises(QueueFullError):
        engine.submit([TextRequest("a", 1, 1, Sampling(), (), None, False, pieces.put)])


def test_texts_that_take_too_long_are_given_up(served_model):
    pieces = queue.SimpleQueue()
    engine = Engine(served_model.text_graph(), rows=2)
    engine.start()
    engine.submit([TextRequest("a", 10**7, 1, Sampling(), (), None, False, pieces.put)])
    assert not engine.close(timeout=0.2)
    while pieces.get(timeout=PATIENCE).finish_reason != "error":
        pass


def test_a_block_that_fails_ends_its_texts_only(served_model, monkeypatch, caplog):
    pieces = queue.SimpleQueue()
    engine = Engine(served_model.text_graph(), rows=2)
    working, failures = engine._blocks, iter([MemoryError("not enough")])

    def blocks(*arguments):
        for error in failures:
            raise error
        return working(*arguments)

    engine.start()
    monkeypatch.setattr(engine, "_blocks", blocks)
    for i in range(2):
        engine.submit([plain_request(5, i, pieces)])
        reasons = collect(pieces, 1)[-1]
        assert reasons == ({0: "error"} if i == 0 else {1: "length"})
    assert "could not be computed" in caplog.text
    engine.close()

"""Documents, lines, files larger than memory, words that are spelled, and novelty: against plain Python."""

import codecs
import difflib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tfcharlm
from tfcharlm.analysis.novelty import novelty_report
from tfcharlm.text import Vocabulary, encode_file, files, line_dataset, read_chunks, stream_dataset
from tfcharlm.text.batches import release_pages
from tfcharlm.text.codec import GraphCodec

SEEDS = st.none() | st.integers(0, 2**40)


def elements(dataset):
    """(tokens, start, targets, weights) of every batch, as arrays."""
    return [(x["tokens"], x["start"], y, w) for x, y, w in dataset.as_numpy_iterator()]


# -- documents


def rows_read(batches):
    """What each row of a data set has read: (start, targets that count) for each of its windows."""
    for row in range(len(batches[0][0])):
        yield [(start[row], tokens[row], targets[row], weights[row]) for tokens, start, targets, weights in batches]


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=9),
    rows=st.integers(1, 5),
    length=st.integers(1, 7),
    seed=SEEDS,
)
def test_every_document_is_read_once_from_its_start(sizes, rows, length, seed):
    ends = np.cumsum(sizes)
    documents = [np.arange(end - size, end) + 100 for end, size in zip(ends, sizes, strict=True)]
    dataset = stream_dataset(documents, rows, length, seed=seed, passes=2)
    batches = elements(dataset)
    assert len(batches) == dataset.cardinality()
    steps = len(batches) // 2
    assert steps == -(-sum(-(-(size - 1) // length) for size in sizes) // rows)
    first_of = {document[0] for document in documents}
    for one_pass in (batches[:steps], batches[steps:]):
        seen = []
        for row in rows_read(one_pass):
            before = None
            for step, (start, tokens, targets, weights) in enumerate(row):
                real = weights == 1
                assert np.all(np.diff(real.astype(int)) <= 0) and np.all(real | (weights == 0))
                np.testing.assert_array_equal(targets[real], tokens[real] + 1)
                assert not tokens[~real].any() and not targets[~real].any()
                if not real.any():
                    assert not start or step == 0
                    continue
                assert start == (step == 0 or tokens[0] in first_of)
                if not start:
                    assert tokens[0] == before, "the row does not go on where it stopped"
                before = targets[real][-1]
                seen += targets[real].tolist()
        assert sorted(seen) == sorted(id_ for document in documents for id_ in document[1:].tolist())


def test_documents_come_in_an_order_of_their_own_in_every_pass():
    documents = [np.array([10 * i, 10 * i + 1]) for i in range(30)]
    orders = []
    for seed in (None, 5, 5, 6):
        tokens = [batch[0][0, 0] // 10 for batch in elements(stream_dataset(documents, 1, 1, seed=seed, passes=3))]
        orders.append(np.split(np.array(tokens), 3))
    assert np.array_equal(orders[0], [range(30)] * 3)
    assert np.array_equal(orders[1], orders[2])
    drawn = {tuple(order) for order in (*orders[1], *orders[3])}
    assert len(drawn) == 6 and all(sorted(order) == list(range(30)) for order in drawn)


def test_state_starts_afresh_with_every_document(rng):
    """`evaluate` over documents in rows gives the mean of each document by itself."""
    vocabulary = Vocabulary("abcdefg")
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(11)], embedding_dim=5)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile()
    documents = [rng.integers(7, size=size) for size in (19, 2, 8, 33, 5)]
    together = model.evaluate(stream_dataset(documents, 3, 4), return_dict=True, verbose=0)
    alone = [model.evaluate(stream_dataset([d], 1, 40), return_dict=True, verbose=0)["loss"] for d in documents]
    counts = [len(document) - 1 for document in documents]
    # Rows begin in the middle of a document where it is long: with one row there is no such place.
    one_row = model.evaluate(stream_dataset(documents, 1, 4), return_dict=True, verbose=0)
    np.testing.assert_allclose(one_row["loss"], np.average(alone, weights=counts), rtol=1e-6)
    assert together["loss"] != pytest.approx(one_row["loss"], rel=1e-6)


@pytest.mark.parametrize("documents", [[], [[1, 2], []], [[1, 2], ["a"]], [[1], [2, 3]], ["ab"]])
def test_bad_documents(documents):
    with pytest.raises(ValueError, match=r"^ids must be "):
        stream_dataset(documents, 1, 1)


# -- lines

ITEMS = st.lists(st.text("abc", max_size=25), min_size=1, max_size=40)


@settings(max_examples=15, deadline=None)
@given(lines=ITEMS, rows=st.integers(1, 9), seed=SEEDS)
def test_every_line_is_a_row_with_its_end(lines, rows, seed):
    vocabulary = Vocabulary("\nabc")
    dataset = line_dataset(lines, vocabulary, rows, seed=seed, passes=2)
    batches = elements(dataset)
    assert len(batches) == dataset.cardinality() == 2 * -(-len(lines) // rows)
    for one_pass in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        seen = []
        for tokens, start, targets, weights in one_pass:
            assert start.all() and len(tokens) <= rows
            assert weights[:, :].any(axis=0).all(), "a column of nothing but padding"
            for x, y, w in zip(tokens, targets, weights, strict=True):
                count = int(w.sum())
                assert w.tolist() == [1.0] * count + [0.0] * (len(w) - count)
                item = vocabulary.decode(y[: count - 1])
                assert vocabulary.decode(x[:count]) == "\n" + item
                assert vocabulary.decode(y[:count]) == item + "\n"
                seen.append(item)
        assert sorted(seen) == sorted(lines)
    sizes = sorted(len(tokens) for tokens, *_ in one_pass)
    assert sizes[1:] == [rows] * (len(sizes) - 1)


def test_lines_of_like_length_are_together_and_orders_differ(rng):
    lines = ["a" * size for size in rng.integers(1, 60, size=700)]
    vocabulary = Vocabulary("\na")
    passes = []
    for seed in (None, 1, 1, 2):
        batches = elements(line_dataset(lines, vocabulary, 16, seed=seed, passes=2))
        share = np.mean(np.concatenate([weights.ravel() for *_, weights in batches]))
        assert share > 0.9, "more than a tenth is padding"
        widths = [tokens.shape[1] for tokens, *_ in batches]
        counts = [tuple(weights.sum(axis=1)) for *_, weights in batches]
        passes += [(widths[:44], counts[:44]), (widths[44:], counts[44:])]
    assert passes[0] == passes[1] and passes[0][0] == sorted(passes[0][0])
    assert passes[2:4] == passes[4:6]
    assert len({str(order) for order in passes[2:]}) == 4


@pytest.mark.parametrize(
    ("lines", "vocabulary", "message"),
    [
        (["a", "b\n"], Vocabulary("ab\n"), r"received 'b\\n' at position 1"),
        (["a", 7], Vocabulary("ab\n"), "received 7 at position 1"),
        ([], Vocabulary("ab\n"), "one or more"),
        (["a"], Vocabulary("ab"), "needs the newline"),
        (["a", "bz"], Vocabulary("ab\n"), r"'z' \(U\+007A\) at position 3 \(line 2, column 2\)"),
    ],
)
def test_bad_lines(lines, vocabulary, message):
    with pytest.raises(ValueError, match=message) as caught:
        line_dataset(lines, vocabulary, 2)
    assert "\n" not in str(caught.value)


def test_measures_of_lines_are_those_of_numpy_whatever_the_batch(rng):
    """Loss, perplexity, accuracy and bits per character, counted by hand from the logits of single lines."""
    vocabulary = Vocabulary("\nabcde")
    lines = ["".join(rng.choice(list("abcde"), size=size)) for size in rng.integers(1, 23, size=57)]
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(9), tfcharlm.RNNCell(4)], embedding_dim=3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile()
    losses, hits = [], []
    for line in lines:
        ids = vocabulary.encode(f"\n{line}\n")
        logits = model(ids[None, :-1]).numpy()[0].astype(np.float64)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses += (-log_p[np.arange(len(ids) - 1), ids[1:]]).tolist()
        hits += (logits.argmax(axis=1) == ids[1:]).tolist()
    loss = np.mean(losses)
    expected = {
        "loss": loss,
        "perplexity": np.exp(loss),
        "bits_per_character": loss / np.log(2),
        "accuracy": np.mean(hits),
    }
    for rows in (1, 7, 57, 100):
        for seed in (None, 3):
            measured = model.evaluate(line_dataset(lines, vocabulary, rows, seed), return_dict=True, verbose=0)
            assert measured.keys() == expected.keys()
            for name, value in expected.items():
                assert measured[name] == pytest.approx(value, rel=1e-6), (name, rows, seed)
    assert {v.dtype for m in model.metrics for v in m.variables} == {"float64"}
    wide = [keras.utils.pad_sequences([vocabulary.encode(f"\n{line}\n")], 40, padding="post")[0] for line in lines]
    wide = np.array(wide)
    weights = np.arange(39) < np.array([[len(line) + 1] for line in lines])
    padded = model.evaluate(wide[:, :-1], wide[:, 1:], sample_weight=weights, batch_size=8, return_dict=True, verbose=0)
    for name, value in expected.items():
        assert padded[name] == pytest.approx(value, rel=1e-6), name


# -- files


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab \n\r\t\f\u00e9\u2028\U0001f600"), min_size=1), part=st.integers(1, 9))
def test_parts_of_a_file_joined_are_the_file(text, part, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "parts.txt"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    expected = re.sub("\r\n?", "\n", text)
    before, files.PART = files.PART, part
    try:
        parts = list(read_chunks(path))
    finally:
        files.PART = before
    assert "".join(parts) == expected and all(parts)


@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_a_file_in_parts_has_the_ids_of_its_text(level, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(files, "PART", 50)
    words = ["to", "be", "caf\u00e9", "it's", ",", "!", "\n", "\r\n", "  ", "\t"]
    text = " ".join(rng.choice(words, size=400))
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    text = text.replace("\r\n", "\n")
    vocabulary = Vocabulary.from_text(read_chunks(path), level)
    assert vocabulary == Vocabulary.from_text(text, level)
    ids = encode_file(path, vocabulary, tmp_path / "ids.npy")
    assert isinstance(ids, np.memmap) and ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, vocabulary.encode(text))
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), ids)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.npy", "text.txt"]


def test_ids_take_two_bytes_when_one_is_not_enough(tmp_path):
    alphabet = "".join(map(chr, range(0x4E00, 0x4E00 + 257)))
    (tmp_path / "text.txt").write_text(alphabet, "utf-8")
    ids = encode_file(tmp_path / "text.txt", Vocabulary.from_text(alphabet), tmp_path / "ids.npy")
    assert ids.dtype == np.uint16 and ids.tolist() == list(range(257))


def test_what_a_file_has_wrong_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PART", 8)
    path, out = tmp_path / "text.txt", tmp_path / "ids.npy"
    path.write_text("aba ab\nab a\nb z ab\n")
    vocabulary = Vocabulary("ab \n")
    with pytest.raises(
        ValueError, match=r"text\.txt: character 'z' \(U\+007A\) in line 3 is not in the vocabulary of 4"
    ):
        encode_file(path, vocabulary, out)
    assert vocabulary.decode(encode_file(path, vocabulary, out, errors="ignore")) == "aba ab\nab a\nb  ab\n"
    path.write_bytes(b"ab a\n" * 4 + b"a\xffb\n")
    with pytest.raises(ValueError, match=r"byte 0xff at offset 21, line 5; "):
        encode_file(path, vocabulary, out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ids.npy", "text.txt"]


# -- ids on a disk


@pytest.mark.parametrize("arguments", [{}, {"seed": 9, "passes": 3}, {"drop_remainder": False}])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_mapped_ids_give_the_batches_of_memory(tmp_path, rng, arguments, dtype):
    ids = rng.integers(200, size=3000).astype(dtype)
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    for cut in (slice(None), slice(17, 2500), slice(1000, None, 3)):
        pairs = zip(
            stream_dataset(mapped[cut], 5, 13, **arguments), stream_dataset(ids[cut], 5, 13, **arguments), strict=True
        )
        for theirs, ours in pairs:
            for a, b in zip(tf.nest.flatten(theirs), tf.nest.flatten(ours), strict=True):
                assert a.shape == b.shape and a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_mapped_documents_give_the_batches_of_memory(tmp_path, rng):
    ids = rng.integers(200, size=900).astype(np.uint8)
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    cuts = [slice(0, 41), slice(41, 400), slice(400, 402), slice(402, 900)]
    mixed = [mapped[cuts[0]], ids[cuts[1]], mapped[cuts[2]], mapped[cuts[3]]]
    theirs = elements(stream_dataset(mixed, 4, 11, seed=3, passes=2))
    ours = elements(stream_dataset([ids[cut] for cut in cuts], 4, 11, seed=3, passes=2))
    assert len(theirs) == len(ours)
    for a, b in zip(theirs, ours, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_changes_of_a_private_mapping_are_not_forgotten(tmp_path):
    np.save(tmp_path / "ids.npy", np.zeros(10, np.uint8))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="c")
    mapped[3] = 7
    release_pages(mapped[1:])
    assert mapped[3] == 7


STREAM = """
import os, resource, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = memory()
from tfcharlm.text import Vocabulary, encode_file, read_chunks, stream_dataset
text, ids = sys.argv[1:]
vocabulary = Vocabulary.from_text(read_chunks(text))
ids = encode_file(text, vocabulary, ids)
rows, length = 64, 4096
last, steps = None, 0
stretch = (len(ids) - 1) // (rows * length) * length
for x, y in stream_dataset(ids, rows, length):
    tokens, targets = x["tokens"].numpy(), y.numpy()
    if last is None:
        assert all((tokens[i] == ids[i * stretch : i * stretch + length]).all() for i in range(rows))
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    assert last is None or (tokens[:, 0] == last).all()
    last, steps = targets[:, -1], steps + 1
assert steps == (len(ids) - 1) // (rows * length)
print(len(ids), steps, before, memory())
"""


def test_no_thread_tunes_a_data_set(rng):
    """It sleeps for up to a minute, and a process that ends waits for it."""
    ids = rng.integers(9, size=100)
    sets = [stream_dataset(ids, 2, 5), stream_dataset([ids, ids], 2, 5, seed=0, passes=None)]
    sets += [line_dataset(["ab", "a"], Vocabulary("ab\n"), 2), sets[0].source.starting_at(3)]
    assert [dataset.options().autotune.enabled for dataset in sets] == [False] * 4


@pytest.mark.slow
def test_two_gigabytes_stream_through_little_memory(tmp_path, rng):
    """The most that the process ever had in memory; `import tensorflow` alone is 600 MB, most of them its libraries."""
    part = rng.integers(ord("a"), ord("z") + 1, size=2**20).astype(np.uint8)
    part[rng.random(2**20) < 0.2] = ord(" ")
    text = tmp_path / "text.txt"
    with text.open("wb") as file:
        for _ in range(2**11):
            file.write(np.roll(part, rng.integers(2**20)).tobytes())
    command = [sys.executable, "-c", STREAM, text, tmp_path / "ids.npy"]
    output = subprocess.run(command, capture_output=True, check=True).stdout.split()
    length, steps, before, most = map(int, output)
    print(f"{length:,} ids in {steps:,} batches; with TensorFlow {before:,} KiB, at most {most:,} KiB")
    assert length == 2**31 and most - before < 200_000


# -- words that are spelled

WORDS = st.text(st.sampled_from(" \t\n'-,ab\u00e9\U0001f600\u0000"), max_size=30)


@settings(max_examples=60, deadline=None)
@given(corpus=WORDS.filter(bool), text=WORDS, min_count=st.integers(2, 4))
def test_spelled_words_lose_nothing(corpus, text, min_count):
    vocabulary = Vocabulary.from_text(corpus, "word", min_count=min_count)
    assert vocabulary.decode(vocabulary.encode(corpus)) == corpus
    known = "".join(character for character in text if character in corpus)
    assert vocabulary.decode(vocabulary.encode(known)) == known


def test_frequent_words_are_tokens_and_rare_ones_are_spelled():
    vocabulary = Vocabulary.from_text("the cat, the dog; cat\n", "word", min_count=2)
    assert set(vocabulary.tokens) == {" cat"} | set("the cat, the dog; cat\n")
    spelled = [vocabulary.tokens[i] for i in vocabulary.encode(" cat act")]
    assert spelled == [" cat", " ", "a", "c", "t"]
    with pytest.raises(ValueError, match=r"word ' axe' at position 4 \(line 1, column 5\)"):
        vocabulary.encode(" cat axe")
    with pytest.raises(ValueError, match="min_count"):
        Vocabulary.from_text("ab", min_count=2)
    with pytest.raises(ValueError, match="min_count"):
        Vocabulary.from_text("ab", "word", min_count=0)


@settings(max_examples=10, deadline=None)
@given(corpus=st.lists(WORDS, min_size=5, max_size=10), min_count=st.integers(2, 3))
def test_graph_spells_as_python_does(corpus, min_count):
    vocabulary = Vocabulary.from_text("".join(corpus) + "\u00e9 ab", "word", min_count=min_count)
    codec = GraphCodec(vocabulary)
    ids = tf.function(codec.encode, autograph=False)(tf.constant([*corpus, ""]))
    assert ids.to_list() == [vocabulary.encode(text).tolist() for text in [*corpus, ""]]
    assert codec.encode(tf.constant(["", ""])).to_list() == [[], []]


def test_graph_names_a_word_that_it_cannot_spell():
    codec = GraphCodec(Vocabulary.from_text("a b ab ab", "word", min_count=2))
    encode = tf.function(codec.encode, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"word not in the vocabulary:\] \[ az\] \[in row\] \[1\]"):
        encode(tf.constant(["ba", "b az"]))


# -- novelty


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("ab\u00e9\n", max_size=20), min_size=1, max_size=4).filter(any),
    corpus=st.text("ab\u00e9\n", min_size=1, max_size=60),
)
def test_novelty_is_what_brute_force_finds(texts, corpus):
    report = novelty_report(texts, corpus, lengths=(1, 2, 3, 7))
    for length, share in report.copied.items():
        grams = [text[i : i + length] for text in texts for i in range(len(text) - length + 1)]
        if not grams:
            assert share is None
        else:
            assert share == pytest.approx(np.mean([gram in corpus for gram in grams]))
    blocks = [difflib.SequenceMatcher(None, text, corpus, autojunk=False).find_longest_match() for text in texts]
    assert len(report.longest_copy) == max(block.size for block in blocks)
    assert report.longest_copy in corpus and any(report.longest_copy in text for text in texts)
    lines = [line for text in texts for line in (text.split("\n") if text.strip("\n") else ["nothing"]) if line]
    assert report.known == pytest.approx(np.mean([line in corpus.split("\n") for line in lines]))
    assert report.repeated == pytest.approx(np.mean([text in texts[:i] for i, text in enumerate(texts)]))


def test_equal_hashes_of_other_texts_are_no_copies():
    """Thue and Morse's word and its mirror have equal hashes modulo 2^64, whatever the base."""
    word = "ab"
    while len(word) < 2048:
        word += word.translate(str.maketrans("ab", "ba"))
    mirror = word.translate(str.maketrans("ab", "ba"))
    report = novelty_report(word, mirror, lengths=(2048,))
    assert report.copied == {2048: 0.0} and report.longest_copy in mirror


@pytest.mark.parametrize("arguments", [("", "a"), ([], "a"), ("a", ""), ("a", "a", (0,)), ("a", ["a"])])
def test_bad_arguments_of_novelty(arguments):
    with pytest.raises(ValueError, match=r"expected texts|lengths must be|corpus must be"):
        novelty_report(*arguments)

"""Corpora of many sources: what is read, what is held out, and the same batches from the disk as from memory."""

import bz2
import glob
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfcharlm.text import Vocabulary, corpus_files, files, lines, load_corpus, sources, split_corpus, stream_dataset

LETTERS = list("abc \né☃😀")


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random_text(rng, size):
    return "x" + "".join(rng.choice(LETTERS, size=size)) + "\n"


def elements(dataset):
    """The arrays of every batch."""
    return [tuple(map(np.asarray, tf.nest.flatten(batch))) for batch in dataset.as_numpy_iterator()]


def pieces(split, part):
    """The texts of the documents or items of a part, by the ids alone."""
    begins, lengths = np.asarray(part.begins), np.asarray(part.lengths)
    own = int(split.kind == "lines")
    return [split.vocabulary.decode(part.ids[b + own : b + own + n]) for b, n in zip(begins, lengths, strict=True)]


def on_disk(monkeypatch):
    monkeypatch.setattr(corpus_files, "IN_MEMORY", 0)


def test_everything_that_is_typed_is_read_once_in_order(in_tmp):
    contents = {"b.txt": "bee", "d/2.txt": "two", "d/1/z.md": "zed", "d/.hidden": "no", "d/.git/x": "no", "e.md": "eee"}
    for name, text in contents.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("d/picture").write_bytes(b"\x89PNG\r\n")
    Path("d/zeros").write_bytes(b"a\0b\0\0\1")
    Path("d/blank").write_text(" \n")
    split = split_corpus(["b.txt", "d", "**/*.md", "b.txt"], join=True)
    text = split.vocabulary.decode(np.concatenate([split.train_ids, split.validation_ids]))
    assert text == "bee" + "zed" + "two" + "eee"
    assert split.notes == (
        "Left out, because they are not text: d/picture, d/zeros.",
        "Left out: 1 file without text.",
    )
    for name, message in (
        ("*.rst", "no file matches"),
        ("d/.git", None),
        ("d/picture", "is not UTF-8: .*PNG"),
        ("d/blank", "d/blank has no text: nothing but white space"),
        ("nothing", "and no corpus of that name"),
    ):
        if message is not None:
            with pytest.raises((OSError, ValueError), match=message):
                split_corpus(["b.txt", name])


def test_a_file_with_several_names_is_read_once(in_tmp):
    Path("texts").mkdir()
    Path("texts/a.md").write_text("one a\n")
    Path("other.md").write_text("other\n")
    links = {"texts/loop": ".", "texts/up": "..", "texts/itself": "itself", "b.md": "texts/a.md", "far": "texts"}
    for name, target in links.items():
        Path(name).symlink_to(target)
    split = split_corpus(
        ["texts/a.md", "./texts/../texts/a.md", "texts/**/*.md", "b.md", "texts", "other.md"], join=True
    )
    assert "12 characters" in split.description
    assert "6 characters" in split_corpus(["far/*.md"], join=True).description
    assert "12 characters" in split_corpus(["**/*.md"], join=True).description


@pytest.mark.parametrize("pattern", ["d/**", "d/**/*", "d/*/*", "{}/d/**/*.txt", "d/**x**/[ab]*", "./d/x/.h/*", "d/.*"])
def test_a_pattern_finds_what_glob_finds(in_tmp, pattern):
    for name in ("d/x/a.txt", "d/x/b.txt", "d/c.txt", "d/.h.txt", "d/x/.h/a.txt", "d/yx/a"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("a")
    pattern = pattern.format(in_tmp)
    found, skipped = sources.find_sources([pattern])
    expected = {os.path.normpath(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()}  # noqa: PTH207
    assert [source.name for source in found] == sorted(expected) and not skipped


def test_models_and_their_runs_are_no_texts(in_tmp, rng):
    files = ["models/m/1/saved_model.pb", "models/m/1/assets.extra/card.md", "models/n/checkpoints/lock"]
    for name in (*files, "models/n/checkpoints/state.json", "models/n/corpus/lock", "corpus/a.txt", "b.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("a" * 9)
    for name in (".", "**"):
        split = split_corpus(name, join=True)
        assert "18 characters" in split.description
        [note] = split.notes
        assert note == "Left out, because they are not text: models/m/1, models/n/checkpoints, models/n/corpus."


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may search every directory")
def test_hidden_directories_that_cannot_be_searched_do_not_matter(in_tmp):
    Path("d/.hidden").mkdir(parents=True)
    Path("d/a.txt").write_text("to be or not to be\n" * 9)
    Path("d/.hidden").chmod(0)
    assert split_corpus("d").notes == ()


def test_hidden_models_are_not_named(in_tmp):
    for name in ("d/.hidden/m/1/saved_model.pb", "d/.m/saved_model.pb", "d/m/saved_model.pb"):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_text("x")
    Path("d/a.txt").write_text("to be or not to be\n" * 9)
    assert split_corpus("d").notes == ("Left out, because they are not text: d/m.",)


def test_a_tar_archive_is_not_read_as_text(in_tmp):
    Path("a.txt").write_text("to be or not to be\n" * 9)
    for mode, name in (("w", "a.tar"), ("w:gz", "a.tar.gz")):
        with tarfile.open(name, mode) as archive:
            archive.add("a.txt")
        with pytest.raises(ValueError, match=rf"{name} begins like a tar archive; give the text that is in it"):
            split_corpus(name)
    assert split_corpus(".").notes == ("Left out, because they are not text: a.tar, a.tar.gz.",)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_compressed_file_is_its_text_and_a_damaged_one_is_named(in_tmp, rng, compress, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 100)
    text = random_text(rng, 700).replace("x", "\r\n")
    raw = compress(text.encode())
    Path("packed").write_bytes(raw)
    split = split_corpus("packed")
    decoded = split.vocabulary.decode(np.concatenate([split.train_ids, split.validation_ids]))
    assert decoded == text.replace("\r\n", "\n")
    for damaged in (raw[:-20], raw[:40], raw[: len(raw) // 2] + b"?" * 30 + raw[len(raw) // 2 + 30 :]):
        Path("packed").write_bytes(damaged)
        with pytest.raises(OSError, match="packed is compressed and damaged") as caught:
            split_corpus("packed")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("level", ["char", "byte", "word"])
@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_one_text_is_split_as_before(in_tmp, rng, level, fraction, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 100)
    text = random_text(rng, 999)
    Path("a.txt").write_text(text)
    split = split_corpus("a.txt", level, validation_fraction=fraction)
    vocabulary = Vocabulary.from_text(text, level)
    ids = vocabulary.encode(text)
    cut = int(len(ids) * (1 - fraction))
    assert split.vocabulary == vocabulary and split.kind == "stream"
    np.testing.assert_array_equal(split.train_ids, ids[:cut])
    np.testing.assert_array_equal(split.validation_ids, ids[cut:])
    assert split.train_token_counts.tolist() == np.bincount(ids[:cut], minlength=len(vocabulary)).tolist()
    assert split.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert f"trains on {cut:,} tokens, holds out the last {len(ids) - cut:,}." in split.description


def test_whole_documents_are_held_out_by_their_content_alone(in_tmp, rng):
    texts = [random_text(rng, size) for size in rng.integers(50, 100, size=40)]
    texts[7] = texts[31]
    for order in (range(40), rng.permutation(40)):
        Path("d").mkdir(exist_ok=True)
        for i, number in enumerate(order):
            Path(f"d/{i:02}").write_text(texts[number])
        split = split_corpus("d", validation_fraction=0.2)
        held, kept = (Counter(pieces(split, part)) for part in (split.validation, split.train))
        assert held + kept == Counter(texts) and not set(held) & set(kept)
        assert 0.2 <= sum(len(t) * n for t, n in held.items()) / sum(map(len, texts)) < 0.35
        by_hash = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).hexdigest())
        assert set(held) == set(by_hash[: len(held)])


def test_the_end_of_each_document_is_held_out_if_one_is_long(in_tmp, rng):
    texts = [random_text(rng, size) for size in (500, 90, 33, 2)]
    for i, text in enumerate(texts):
        Path(f"{i}.txt").write_text(text)
    split = split_corpus([f"{i}.txt" for i in range(4)])
    cuts = [int(len(text) * 0.9) for text in texts]
    cuts[3] = len(texts[3])  # too short for a part of two tokens
    assert pieces(split, split.train) == [text[:cut] for text, cut in zip(texts, cuts, strict=True)]
    assert sorted(pieces(split, split.validation)) == sorted(t[c:] for t, c in zip(texts[:3], cuts, strict=False))
    counts = Counter("".join(pieces(split, split.train)))
    assert split.train_token_counts.tolist() == [counts[token] for token in split.vocabulary.tokens]


@pytest.mark.parametrize("level", ["char", "byte", "word"])
@pytest.mark.parametrize("separator", ["\n", "\n\n", "%%"])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_items_are_held_out_by_their_hash_and_nothing_is_lost(in_tmp, rng, level, separator, chunk, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", chunk)
    letters = list("ab cé☃") + ([] if separator == "\n" else ["\n"])
    items = ["".join(rng.choice(letters, size=size)) for size in rng.integers(0, 9, size=120)]
    text = separator.join(items) + separator
    Path("a.txt").write_text(text[: len(text) // 2])
    Path("b.txt").write_text(text[len(text) // 2 :])
    split = split_corpus(["a.txt", "b.txt"], level, lines=True, separator=separator, validation_fraction=0.3)
    found = []
    for half in (text[: len(text) // 2], text[len(text) // 2 :]):
        found += [item if separator == "\n" else item.strip("\n") for item in half.split(separator)]
    expected = {True: Counter(), False: Counter()}
    for item in filter(None, found):
        held = int.from_bytes(hashlib.sha256(item.encode()).digest()[:8]) / 2**64 < 0.3
        expected[held][item + split.item_end] += 1
    assert Counter(pieces(split, split.validation)) == expected[True]
    assert Counter(pieces(split, split.train)) == expected[False]
    assert split.item_end == ("\n" if separator == "\n" else "\x1e")
    ids = np.concatenate(
        [split.train.ids[b + 1 : b + 1 + n] for b, n in zip(split.train.begins, split.train.lengths, strict=True)]
    )
    assert split.train_token_counts.tolist() == np.bincount(ids, minlength=len(split.vocabulary)).tolist()
    assert split.train.num_tokens == len(ids)
    newline = split.vocabulary.encode("\n")[0]
    assert {int(split.train.ids[b]) for b in split.train.begins} == {newline}


def sources_of_every_kind(rng):
    for i, size in enumerate((300, 50, 20, 70)):
        Path(f"{i}.txt").write_text(random_text(rng, size))
    names = [f"{i}.txt" for i in range(4)]
    yield "stream", names[:1], {}
    yield "documents", names, {}
    yield "lines", names, {"lines": True}
    yield "tunes", names, {"lines": True, "separator": "b"}
    yield "joined", names, {"join": True}


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("stream", "documents", "tunes", "joined")]


@pytest.mark.parametrize("only", ["lines", *SLOW])
def test_batches_from_the_disk_are_those_from_memory(in_tmp, rng, monkeypatch, only):
    for kind, names, options in sources_of_every_kind(rng):
        if kind != only:
            continue
        memory = split_corpus(names, **options)
        on_disk(monkeypatch)
        for read in ("first", "again"):
            disk = split_corpus(names, **options, directory=kind)
            assert isinstance(disk.train.ids, np.memmap) and disk.train.ids.dtype == np.uint8, read
            for make in (
                lambda split: split.train_dataset(3, 5, seed=4, epochs=2),
                lambda split: split.validation_dataset(2, 3),
                lambda split: split.validation_dataset(2, 3, tokens=9),
            ):
                for one, other in zip(elements(make(memory)), elements(make(disk)), strict=True):
                    for x, y in zip(one, other, strict=True):
                        np.testing.assert_array_equal(x, y)
            assert disk.description == memory.description and disk.sha256 == memory.sha256
            assert disk.train_token_counts.tolist() == memory.train_token_counts.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 3])
def test_blocks_of_many_lines_have_every_line_once_and_resume_anywhere(in_tmp, rng, monkeypatch, seed):
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr(lines, "RUN", 8)
    on_disk(monkeypatch)
    Path("a.txt").write_text("".join(f"{'z' * int(size)}{i}\n" for i, size in enumerate(rng.integers(1, 9, 333))))
    split = split_corpus("a.txt", lines=True, directory="ids")
    data = split.train_dataset(5, 1, seed=seed, epochs=2)
    batches = elements(data)
    assert len(batches) == len(data) == 2 * -(-split.train.num_pieces // 5)
    seen = []
    for part in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        rows = [
            split.vocabulary.decode(row[: int(w.sum())])
            for *_, targets, weights in part
            for row, w in zip(targets, weights, strict=True)
        ]
        assert Counter(rows) == Counter(pieces(split, split.train))
        seen.append(rows)
    assert (seen[0] == seen[1]) == (seed is None)
    for first in (1, 13, len(batches) // 2, len(batches) - 1):
        for one, other in zip(elements(data.source.starting_at(first)), batches[first:], strict=True):
            for x, y in zip(one, other, strict=True):
                np.testing.assert_array_equal(x, y)


def reads_of(monkeypatch):
    """The paths that are opened from now on to be read as text."""
    opened, read = [], files.TextFile.__init__

    def init(self, name, decompress=False):
        opened.append(os.fspath(name))
        read(self, name, decompress)

    monkeypatch.setattr(files.TextFile, "__init__", init)
    return opened


def test_what_has_not_changed_is_not_read_again(in_tmp, rng, monkeypatch):
    for i in range(3):
        Path(f"{i}.txt").write_text(random_text(rng, 90))
    names = [f"{i}.txt" for i in range(3)]
    before = split_corpus(names, directory="ids")
    opened = reads_of(monkeypatch)
    assert split_corpus(names, directory="ids").description == before.description and not opened
    os.utime("1.txt", ns=(1, 1))
    split_corpus(names, directory="ids", resume=True)
    split_corpus(names, directory="ids")
    assert opened == ["1.txt"], "its sum is computed once more, and is the same"
    Path("1.txt").write_text("other\n" * 9)
    with pytest.raises(ValueError, match=r"run to resume: 1\.txt was \d+ bytes \(SHA-256 \w{12}\) and is 54 bytes"):
        split_corpus(names, directory="ids", resume=True)
    for wrong, message in ((names[:2], "2.txt is missing"), ([*names, __file__], "is new"), (names[::-1], "order")):
        os.utime("1.txt", ns=(1, 1))
        Path("1.txt").write_text("other\n" * 9)
        split_corpus(names, directory="ids")
        with pytest.raises(ValueError, match=message):
            split_corpus(wrong, directory="ids", resume=True)
    with pytest.raises(ValueError, match=r"level='char' is now 'byte'\. Restore it"):
        split_corpus(names, "byte", directory="ids", resume=True)
    split = split_corpus(names, directory="ids")
    assert "".join(pieces(split, split.train)).count("other") == 8


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_a_short_list_is_split_whatever_its_hashes(in_tmp, seed, fraction):
    rng = np.random.default_rng(seed)
    items = [f"{number:x}" for number in rng.integers(1 << 40, size=rng.integers(2, 5))]
    items += items[:1]
    Path("list").write_text("\n\n".join(items))
    split = split_corpus("list", lines=True, separator="\n\n", validation_fraction=fraction)
    held, kept = (set(pieces(split, part)) for part in (split.validation, split.train))
    assert held and kept and not held & kept and {item.strip("\x1e") for item in held | kept} == set(items)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_is_named_and_keeps_nothing(in_tmp, rng, monkeypatch):
    Path("a.txt").write_text(random_text(rng, 900))
    real = Path.open

    def open_full(path, mode="r", **options):
        if "partial" not in path.name:
            return real(path, mode, **options)
        path.touch()
        return real(Path("/dev/full"), mode, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="the ids cannot be written to ids: No space left on device"):
        split_corpus("a.txt", directory="ids")
    assert [path.name for path in Path("ids").iterdir()] == ["lock"]


def test_resuming_from_another_model_says_so(in_tmp, rng):
    text = random_text(rng, 90)
    Path("a.txt").write_text(text)
    split_corpus("a.txt", directory="ids", known=Vocabulary.from_text(text + "q"))
    with pytest.raises(ValueError, match=r"run to resume: it began from another model, or from none\. Begin from"):
        split_corpus("a.txt", directory="ids", resume=True)


@pytest.mark.parametrize("damage", ["manifest", "cut manifest", "ids", "version", "killed"])
def test_ids_that_are_not_whole_are_made_again(in_tmp, rng, monkeypatch, damage):
    for name in "ab":
        Path(name).write_text(random_text(rng, 90))
    on_disk(monkeypatch)
    before = split_corpus(["a", "b"], directory="ids").train.documents()
    manifest = Path("ids/manifest.json")
    if damage == "manifest":
        manifest.unlink()
    elif damage == "cut manifest":
        manifest.write_text(manifest.read_text()[:50])
    elif damage == "version":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 0}))
    elif damage == "ids":
        with Path("ids/ids").open("ab") as file:
            file.write(b"a")
    else:
        Path("a").write_text(random_text(rng, 80))

        def killed(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(corpus_files.DiskFiles, "rename", killed)
            split_corpus(["a", "b"], directory="ids")
        assert not manifest.exists() and not list(Path("ids").glob("partial*"))
        before = split_corpus(["a", "b"]).train.documents()
    for one, other in zip(split_corpus(["a", "b"], directory="ids").train.documents(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert manifest.exists()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_what_to_type_for_a_compressed_file_in_another_encoding(in_tmp, compress):
    text = "これは日本語の文章です。\n" * 40
    Path("my text").write_bytes(compress(text.encode("euc-jp")))
    with pytest.raises(
        ValueError, match="'my text' is not UTF-8: byte 0xa4 at offset 0, line 1; it looks like EUC-JP; "
    ) as caught:
        split_corpus("my text")
    command = re.search("type (.*) and load utf8.txt", str(caught.value))[1]
    for program in (command.split()[0], "iconv"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    subprocess.run(command, shell=True, check=True)
    assert Path("utf8.txt").read_text("utf-8") == text


def test_standard_input_is_kept_as_ids(in_tmp, rng, monkeypatch):
    text = random_text(rng, 200)

    def send(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    send(text.encode())
    split = split_corpus("-", directory="ids")
    assert split.vocabulary.decode(np.concatenate([split.train_ids, split.validation_ids])) == text
    other = text[::-1]
    send(other.encode())
    split = split_corpus("-", directory="ids")
    assert split.vocabulary.decode(np.concatenate([split.train_ids, split.validation_ids])) == other, "not the old one"
    monkeypatch.setattr(sys, "stdin", None)
    again = split_corpus("-", directory="ids", resume=True)
    assert again.train_ids.tolist() == split.train_ids.tolist()
    assert sorted(path.name for path in Path("ids").iterdir()) == ["ids", "lock", "manifest.json"]
    send(b"\xff")
    with pytest.raises(ValueError, match=r"standard input is not UTF-8: byte 0xff at offset 0"):
        split_corpus("-", directory="ids")
    send("これは日本語の文章です。\n".encode("euc-jp") * 40)
    with pytest.raises(ValueError, match=r"^standard input is not .* iconv -f \S+ -t utf-8 FILE > utf8.txt"):
        split_corpus("-", directory="ids")
    with pytest.raises(OSError, match="standard input is a terminal"):
        monkeypatch.setattr(sys, "stdin", None)
        split_corpus("-", directory="other")


def test_a_named_corpus_is_a_source(monkeypatch, tmp_path):
    split = split_corpus("names", lines=True, directory=tmp_path / "ids")
    both = pieces(split, split.train) + pieces(split, split.validation)
    assert Counter(both) == Counter(load_corpus("names").splitlines(keepends=True))
    assert split_corpus("names", lines=True, directory=tmp_path / "ids", resume=True).sha256 == split.sha256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ""}, "separator must be a str"),
        ({"lines": True, "join": True}, "lines=True and join=True contradict each other"),
        ({"separator": "q"}, "separator='q' needs lines=True"),
        ({"level": "letter"}, "level must be one of"),
        ({"validation_fraction": 1}, "validation_fraction must be a number above 0 and below 1"),
        ({"lines": True, "separator": "q"}, r"none of the 1 items is (held out|left to train on)"),
        ({"errors": "ignore"}, 'errors must be "strict" or "replace"'),
    ],
)
def test_bad_arguments_are_one_line(in_tmp, options, message):
    Path("a.txt").write_text("to be\nor not\n")
    with pytest.raises(ValueError, match=message) as caught:
        split_corpus("a.txt", **options)
    assert "\n" not in str(caught.value)
    Path("b.txt").write_text("a\x1eb")
    with pytest.raises(ValueError, match=re.escape("must not have U+001E")):
        split_corpus("b.txt", lines=True, separator="c")


def test_known_sums_are_not_computed_again(rng):
    data = stream_dataset(rng.integers(5, size=50), 2, 3, ids_sha256=lambda: "known")
    assert data.source.description()["corpus_sha256"] == "known"

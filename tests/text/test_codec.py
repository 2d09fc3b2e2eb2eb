"""Vocabularies in a graph: the ids and the texts of Python."""

import re
import string

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcharlm.text import GraphCodec, Vocabulary

LEVELS = ("char", "byte", "word")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
# Mostly what separates words and what joins them.
WORDY = st.text(st.sampled_from(" \t\n\r\f\v'-_.,ab\u00e9\u00a0\u2028\x00\x1c\U0001f600"), min_size=1)

AWKWARD = [
    "",
    " ",
    "  two  spaces, and\ttab\r\nDon't stop--'tis (not) [the] end_of\\it! ",
    "\x00",
    "a\x00b \x00",
    "\ufeffmark",
    "na\u00efve \U0001f600\U0001f600 \u00a0\u2028\x1c\x85 \ufffd",
    string.printable,
]


class Exported(tf.Module):
    """What an exported model does with text, and nothing else."""

    def __init__(self, vocabulary):
        super().__init__()
        self.codec = GraphCodec(vocabulary)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def encode(self, prompts):
        ragged = self.codec.encode(prompts, name="prompts")
        return ragged.flat_values, ragged.row_lengths()

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def decode(self, ids):
        return self.codec.decode(ids)


@pytest.fixture(scope="module", params=[*LEVELS, "char, spells", "word, spells"])
def exported(request, tmp_path_factory):
    """(vocabulary, the module in this process, the module saved and loaded)."""
    pieces = {
        level: "".join(AWKWARD) + "".join(f"\n{text}\n" for text in AWKWARD) for level in ("word", "word, spells")
    }
    text = pieces.get(request.param, "".join(AWKWARD) + "\n")
    level, _, spells = request.param.partition(", ")
    vocabulary = Vocabulary.from_text(text, level, spell=bool(spells))
    module = Exported(vocabulary)
    folder = str(tmp_path_factory.mktemp("codec"))
    tf.saved_model.save(module, folder)
    return vocabulary, module, tf.saved_model.load(folder)


def _encode(module, texts):
    values, lengths = module.encode(tf.constant(texts, tf.string))
    assert values.dtype == tf.int32
    return np.split(values.numpy(), np.cumsum(lengths.numpy()))[: len(texts)]


def _message(module, prompts):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        module.encode(tf.constant(prompts))
    return str(caught.value)


def test_graph_encodes_and_decodes_as_python_does(exported):
    vocabulary, *modules = exported
    for module in modules:
        for text, ids in zip(AWKWARD, _encode(module, AWKWARD), strict=True):
            np.testing.assert_array_equal(ids, vocabulary.encode(text), err_msg=repr(text))
            assert module.decode(ids[None]).numpy().tolist() == [text.encode()]


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=5, deadline=None)
@given(texts=st.lists(TEXTS | WORDY, min_size=20, max_size=40))
def test_graph_encodes_random_texts_as_python_does(level, texts):
    # A lone token for each text: joined texts would make other words at the seams.
    found = set().union(*(Vocabulary.from_text(text, level, spell=False).tokens for text in texts))
    vocabulary = Vocabulary(sorted(found), level)
    ragged = GraphCodec(vocabulary).encode(tf.constant(texts))
    assert ragged.to_list() == [vocabulary.encode(text).tolist() for text in texts]


def test_graph_takes_empty_batches_and_empty_rows(exported):
    _, *modules = exported
    for module in modules:
        assert _encode(module, []) == []
        assert [ids.tolist() for ids in _encode(module, ["", ""])] == [[], []]
        assert module.decode(np.zeros((0, 3), np.int32)).shape == (0,)
        assert module.decode(np.zeros((2, 0), np.int32)).numpy().tolist() == [b"", b""]


def test_graph_names_what_is_unknown(exported):
    vocabulary, *modules = exported
    what = {"char": "character", "word": "word"}.get(vocabulary.level)
    for module in modules:
        if what is None:
            assert _encode(module, ["\u017c"])[0].tolist() == [0xC5, 0xBC], "no byte is unknown"
            continue
        if vocabulary.spelling is not None:
            assert [vocabulary.tokens[i] for i in _encode(module, ["\u017c"])[0]] == ["<0xC>", "<5>", "<B>", "<C>"]
            continue
        message = _message(module, ["", "\u017c"])
        assert re.search(rf"prompts: {what} not in the vocabulary:\] \[\u017c\] \[in row\] \[1\]", message)


@pytest.mark.parametrize("prompt", [b"a\xff", b"\xed\xa0\x80", b"\xc3", b"\xc0\x80"])
def test_graph_takes_invalid_utf8_as_bytes_only(exported, prompt):
    vocabulary, *modules = exported
    for module in modules:
        if vocabulary.level == "byte":
            assert _encode(module, [prompt])[0].tolist() == list(prompt)
            assert module.decode([list(prompt)]).numpy().tolist() == [prompt]
        else:
            assert "prompts: not valid UTF-8: row] [2]" in _message(module, [b"", b" ", prompt])


WORDS = st.text(st.sampled_from(" \t\n'-,ab\u00e9\U0001f600\u0000"), max_size=30)


@settings(max_examples=10, deadline=None)
@given(corpus=st.lists(WORDS, min_size=5, max_size=10), min_count=st.integers(2, 3))
def test_graph_spells_as_python_does(corpus, min_count):
    vocabulary = Vocabulary.from_text("".join(corpus) + "\u00e9 ab", "word", min_count=min_count)
    codec = GraphCodec(vocabulary)
    ids = codec.encode(tf.constant([*corpus, ""]))
    assert ids.to_list() == [vocabulary.encode(text).tolist() for text in [*corpus, ""]]
    assert codec.encode(tf.constant(["", ""])).to_list() == [[], []]


def test_graph_names_a_word_that_it_cannot_spell():
    vocabulary = Vocabulary.from_text("a b ab ab", "word", min_count=2, spell=False)
    encode = tf.function(GraphCodec(vocabulary).encode, autograph=False)
    texts = ["ab ab", "", "b ab ba a"]
    assert encode(tf.constant(texts)).to_list() == [vocabulary.encode(text).tolist() for text in texts]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"word not in the vocabulary:\] \[ az\] \[in row\] \[1\]"):
        encode(tf.constant(["ba", "b az"]))

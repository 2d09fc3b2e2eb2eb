"""A vocabulary inside a TensorFlow graph, so that an exported model takes text and gives text."""

import tensorflow as tf

from tfcharlm.text.words import PATTERN

# No valid UTF-8 text has this byte, so it can mark the ends of words.
_END = b"\xff"


class GraphCodec(tf.Module):
    """`Vocabulary.encode` and `decode` as TensorFlow operations over a batch of strings.

    The vocabulary lives in a hash table and a constant; both are saved with the module that holds
    the codec, and no Python of this package runs after `tf.saved_model.load`.

    Args:
        vocabulary: a `Vocabulary`.

    Example:

    >>> from tfcharlm.text import Vocabulary
    >>> codec = GraphCodec(Vocabulary.from_text("abc"))
    >>> codec.encode(tf.constant(["cab", ""])).to_list()
    [[2, 0, 1], []]
    >>> codec.decode(tf.constant([[2, 0], [1, 1]])).numpy().tolist()
    [b'ca', b'bb']
    """

    def __init__(self, vocabulary):
        super().__init__(name="graph_codec")
        self.level = vocabulary.level
        encoding = "latin-1" if self.level == "byte" else "utf-8"
        tokens = [token.encode(encoding) for token in vocabulary.tokens]
        self._tokens = tf.constant(tokens)
        ids = tf.range(len(tokens), dtype=tf.int32)
        self._ids = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(self._tokens, ids), default_value=-1)

    def encode(self, texts, name="texts"):
        """The ids of each text.

        Args:
            texts: string (B,), UTF-8 (at level "byte": any bytes).
            name: what an error calls the argument; default "texts".

        Returns:
            int32 RaggedTensor (B, None), row by row what `Vocabulary.encode` gives.

        Raises:
            tf.errors.InvalidArgumentError: a text is not UTF-8, or something in it is not in the
                vocabulary.
        """
        tokens = self._split(texts, name)
        if self.level == "word":
            tokens = self._spelled(tokens)
        ids = self._ids.lookup(tokens.flat_values)
        unknown = tf.where(ids < 0)[:1, 0]
        what = "word" if self.level == "word" else "character"
        known = tf.debugging.Assert(
            tf.equal(tf.size(unknown), 0),
            [
                f"{name}: {what} not in the vocabulary:",
                tf.gather(tokens.flat_values, unknown),
                "in row",
                tf.gather(tokens.value_rowids(), unknown),
            ],
        )
        with tf.control_dependencies([known] if known is not None else []):
            return tokens.with_flat_values(tf.identity(ids))

    def decode(self, ids):
        """The text of each row of ids.

        Args:
            ids: int32 or int64 (B, T), each in [0, len(vocabulary)).

        Returns:
            string (B,), UTF-8. At level "byte" the raw bytes, which need not be UTF-8.
        """
        return tf.strings.reduce_join(tf.gather(self._tokens, ids), axis=-1)

    def valid(self, texts):
        """The texts as valid UTF-8: at level "byte", what is not becomes U+FFFD; at others all of it is."""
        if self.level != "byte":
            return texts
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")

    def _split(self, texts, name):
        if self.level == "byte":
            return tf.strings.bytes_split(texts)
        transcoded = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        invalid = tf.where(tf.not_equal(transcoded, texts))[:1, 0]
        # The row and not the text: Python cannot raise an error whose message is not UTF-8.
        valid = tf.debugging.Assert(tf.equal(tf.size(invalid), 0), [f"{name}: not valid UTF-8: row", invalid])
        with tf.control_dependencies([valid] if valid is not None else []):
            texts = tf.identity(texts)
        if self.level == "char":
            return tf.strings.unicode_split(texts, "UTF-8")
        ended = tf.strings.regex_replace(texts, PATTERN, rb"\0" + _END)
        pieces = tf.strings.split(ended, _END)
        return tf.ragged.boolean_mask(pieces, tf.not_equal(pieces, ""))

    def _spelled(self, words):
        """Words (B, None), with its characters in the place of each that is no token but can be spelled."""
        pieces = words.flat_values
        unknown = self._ids.lookup(pieces) < 0
        characters = tf.strings.unicode_split(tf.where(unknown, pieces, ""), "UTF-8")
        missing = tf.cast(self._ids.lookup(characters.flat_values) < 0, tf.int32)
        missing = tf.math.unsorted_segment_sum(missing, characters.value_rowids(), tf.size(pieces))
        ended = tf.strings.regex_replace(pieces, "(?s:.)", rb"\0" + _END)
        cut = tf.strings.split(tf.where(unknown & (missing == 0), ended, pieces), _END)
        cut = tf.ragged.boolean_mask(cut, tf.not_equal(cut, ""))
        return words.with_flat_values(cut).merge_dims(1, 2)

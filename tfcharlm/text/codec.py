"""A vocabulary inside a TensorFlow graph, so that an exported model reads and writes text."""

import tensorflow as tf

from tfcharlm.text.spelling import DIGITS, DIGITS_BY_FIRST, FIRST, HEX
from tfcharlm.text.vocabulary import Vocabulary
from tfcharlm.text.words import PATTERN

# This byte occurs in no valid UTF-8 text, so it can mark the ends of words.
_END = b"\xff"
_BYTES = [bytes([i]) for i in range(256)]


class GraphCodec(tf.Module):
    """`Vocabulary.encode` and `decode` as TensorFlow operations over a batch of strings.

    The vocabulary is stored in a hash table and a constant. Both are saved with the module that holds the codec, so
    that `tf.saved_model.load` needs no Python code of this package.

    Args:
        vocabulary: a `Vocabulary`.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.text import GraphCodec, Vocabulary
    >>> codec = GraphCodec(Vocabulary("abc"))
    >>> codec.encode(tf.constant(["cab", ""])).to_list()
    [[2, 0, 1], []]
    >>> codec.decode(tf.constant([[2, 0], [1, 1]])).numpy().tolist()
    [b'ca', b'bb']
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(name="graph_codec")
        self.level, self._spells = vocabulary.level, vocabulary.spelling is not None
        self._first_digit = len(vocabulary) - len(DIGITS)
        encoding = "latin-1" if self.level == "byte" else "utf-8"
        tokens = [token.encode(encoding) for token in vocabulary.tokens]
        self._tokens = tf.constant(tokens)
        ids = tf.range(len(tokens), dtype=tf.int32)
        self._ids = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(self._tokens, ids), default_value=-1)

    def encode(self, texts: tf.Tensor, name: str = "texts") -> tf.RaggedTensor:
        """The ids of each text.

        Args:
            texts: string (B,), UTF-8 (at level "byte": any bytes).
            name: the name of the argument in an error; default "texts".

        Returns:
            int32 RaggedTensor (B, None). Each row equals what `Vocabulary.encode` returns.

        Raises:
            tf.errors.InvalidArgumentError: a text is not UTF-8, or has a token that is not in the vocabulary and cannot
                be spelled.
        """
        tokens = self._split(texts, name)
        if self.level == "word":
            tokens = self._spelled(tokens)
        if self._spells:
            return self._with_spellings(tokens)
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

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """The text of each row of ids.

        Args:
            ids: int32 or int64 (B, T), each in [0, len(vocabulary)).

        Returns:
            string (B,), UTF-8. At level "byte" the raw bytes, and where characters are spelled their bytes; both need
            not be UTF-8.
        """
        pieces = tf.gather(self._tokens, ids)
        if self._spells:
            pieces = self._with_bytes(ids, pieces)
        return tf.strings.reduce_join(pieces, axis=-1)

    def valid(self, texts: tf.Tensor) -> tf.Tensor:
        """The texts, string (B,), as valid UTF-8. Bytes that are not UTF-8 become U+FFFD."""
        if self.level != "byte" and not self._spells:
            return texts
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")

    def _split(self, texts, name):
        if self.level == "byte":
            return tf.strings.bytes_split(texts)
        transcoded = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        invalid = tf.where(tf.not_equal(transcoded, texts))[:1, 0]
        # The message has the row, not the text: Python cannot raise an error whose message is not UTF-8.
        valid = tf.debugging.Assert(tf.equal(tf.size(invalid), 0), [f"{name}: not valid UTF-8: row", invalid])
        with tf.control_dependencies([valid] if valid is not None else []):
            texts = tf.identity(texts)
        if self.level == "char":
            return tf.strings.unicode_split(texts, "UTF-8")
        ended = tf.strings.regex_replace(texts, PATTERN, rb"\0" + _END)
        pieces = tf.strings.split(ended, _END)
        return tf.ragged.boolean_mask(pieces, tf.not_equal(pieces, ""))

    def _spelled(self, words):
        """Words (B, None). A word that is not a token, but can be spelled, is replaced by its characters."""
        pieces = words.flat_values
        unknown = self._ids.lookup(pieces) < 0
        if self._spells:
            whole = tf.RaggedTensor.from_row_lengths(
                tf.boolean_mask(pieces, ~unknown), tf.cast(~unknown, tf.int64), validate=False
            )
            characters = tf.strings.unicode_split(tf.where(unknown, pieces, ""), "UTF-8")
            return words.with_flat_values(tf.concat([whole, characters], axis=1)).merge_dims(1, 2)
        characters = tf.strings.unicode_split(tf.where(unknown, pieces, ""), "UTF-8")
        missing = tf.cast(self._ids.lookup(characters.flat_values) < 0, tf.int32)
        missing = tf.math.unsorted_segment_sum(missing, characters.value_rowids(), tf.size(pieces))
        ended = tf.strings.regex_replace(pieces, "(?s:.)", rb"\0" + _END)
        cut = tf.strings.split(tf.where(unknown & (missing == 0), ended, pieces), _END)
        cut = tf.ragged.boolean_mask(cut, tf.not_equal(cut, ""))
        return words.with_flat_values(cut).merge_dims(1, 2)

    def _with_spellings(self, tokens):
        """The ids of tokens (B, None); a character that is not a token is replaced by the digits of its bytes."""
        pieces = tokens.flat_values
        ids = self._ids.lookup(pieces)
        # By now a piece that is not a token is one character.
        in_bytes = tf.strings.bytes_split(tf.where(ids < 0, pieces, ""))
        values = tf.cast(tf.io.decode_raw(in_bytes.flat_values, tf.uint8, fixed_length=1)[:, 0], tf.int32)
        halves = self._first_digit + len(FIRST) + tf.stack([values // 16, values % 16], axis=1)
        first = tf.gather(tf.constant([FIRST.find(digit) for digit in HEX]), values // 16) + self._first_digit
        begins = tf.concat([[True], in_bytes.value_rowids()[1:] != in_bytes.value_rowids()[:-1]], axis=0)
        begins = begins[: tf.size(values)]
        halves = tf.stack([tf.where(begins, first, halves[:, 0]), halves[:, 1]], axis=1)
        digits = tf.RaggedTensor.from_row_splits(tf.reshape(halves, [-1]), 2 * in_bytes.row_splits, validate=False)
        whole = tf.RaggedTensor.from_row_lengths(
            tf.boolean_mask(ids, ids >= 0), tf.cast(ids >= 0, tf.int64), validate=False
        )
        return tokens.with_flat_values(tf.concat([whole, digits], axis=1)).merge_dims(1, 2)

    def _with_bytes(self, ids, pieces):
        """The pieces of text (B, T), in which the second of two digits is a byte, and the first is empty.

        A character that is not whole at the end of a row is left out.
        """
        digit = ids - self._first_digit
        is_digit, position = digit >= 0, tf.range(tf.shape(ids)[1], dtype=ids.dtype)
        last = tf.reduce_max(tf.where(is_digit & (digit < len(FIRST)), position, -1), axis=1, keepdims=True)
        lead = tf.reduce_max(tf.where(position == last, digit, 0), axis=1, keepdims=True)
        lengths = [DIGITS_BY_FIRST[digit] for digit in FIRST]
        end = last + tf.gather(tf.constant(lengths, ids.dtype), tf.maximum(lead, 0))
        is_unfinished = (last >= 0) & (position >= last) & (end > tf.shape(ids, out_type=ids.dtype)[1])
        values = [int(digit, 16) for digit in FIRST + HEX]
        value = tf.gather(tf.constant(values, ids.dtype), tf.maximum(digit, 0))
        byte = 16 * tf.pad(value, [[0, 0], [1, 0]])[:, :-1] + value
        is_second = tf.cumsum(tf.cast(is_digit, ids.dtype), axis=1) % 2 == 0
        spelled = tf.where(is_second & ~is_unfinished, tf.gather(tf.constant(_BYTES), byte), "")
        return tf.where(is_digit, spelled, pieces)

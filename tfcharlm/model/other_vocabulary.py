"""A model over another vocabulary: what it knows of tokens is kept, and new tokens begin like those they resemble."""

import math
from typing import Any, Self

import keras
import numpy as np

from tfcharlm.layers import RNN
from tfcharlm.model.arguments import checked_vocabulary
from tfcharlm.model.layer_config import unbuilt
from tfcharlm.text import Vocabulary, relatives

# How often a new token is written in the place of the known one that it is like, if counts are not known.
RARE = 0.01
DROPOUT = ("dropout", "input_dropout", "weight_drop", "dropout_seed")


class OtherVocabulary(keras.Model):
    """A base of `CharLM`: the method `with_vocabulary`."""

    vocabulary: Vocabulary
    recurrent: list[RNN]
    embedding: keras.layers.Embedding
    head: keras.layers.Dense

    def with_vocabulary(self, vocabulary: Vocabulary, token_counts: np.ndarray | None = None, **options: float) -> Self:
        r"""A new model with the same cells, options and weights over another vocabulary.

        The rows of the embedding, and the columns and biases of the head, are kept exactly for tokens in both
        vocabularies. A new token begins like the known token r that is most like it (`tfcharlm.text.relatives`): é like
        e, A like a. A token that is like none begins with random weights, as in a new model. The bias of a new token
        follows from how often it and r occur:

        $$ b = b_r + \log \frac{n + 1}{n + n_r + 2}, \qquad \text{without } r: \quad
           b = \log \frac{n + 1}{\sum_j (n_j + 1)} $$

        docs/training-recipe.md compares this with other ways to begin. Means of known rows are worse: tokens that begin
        alike are hard to tell apart.

        Args:
            vocabulary: a `Vocabulary` with V tokens, at the level of this model's. Tokens in any order; those of this
                model that are not in it are given up.
            token_counts: how often each of its tokens occurs in the text that the model will be trained on, integers
                (V,), such as `TextSplit.train_token_counts`. None (default) if that is not known: new tokens then begin
                as rare ones, and the model writes almost as before.
            **options: `dropout`, `input_dropout`, `weight_drop` and `dropout_seed` of the new model, if they are not to
                be those of this one.

        Returns:
            A model of this class. It is not compiled, because an optimizer has numbers for each weight, and they would
            not fit. Frozen layers stay frozen. This model is unchanged.

        Raises:
            TypeError: an option is none of those.
            ValueError: `vocabulary` is not a `Vocabulary`, or has another level; or there are not V counts.

        Example:

        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\n"), [tfcharlm.RNNCell(5)])
        >>> wider = model.with_vocabulary(tfcharlm.text.Vocabulary("abcABC\n"))
        >>> wider.generate("Cab", max_length=4, seed=1)[:3], len(model.vocabulary)
        ('Cab', 4)
        >>> bool((wider.get_weights()[0][1] == model.get_weights()[0][1]).all())
        True
        """
        unknown = sorted(options.keys() - set(DROPOUT))
        if unknown:
            raise TypeError(f"an option must be one of {', '.join(DROPOUT)}; received {unknown[0]}.")
        known, counts = self.vocabulary, None if token_counts is None else np.asarray(token_counts)
        if checked_vocabulary(vocabulary).level != known.level:
            raise ValueError(
                f"vocabulary must have the level of the model, {known.level!r}; received level {vocabulary.level!r}. "
                f"Type Vocabulary.from_text(text, level={known.level!r})."
            )
        if counts is not None and counts.shape != (len(vocabulary),):
            raise ValueError(
                f"token_counts must be one number for each of {len(vocabulary):,} tokens; received {counts.shape}. "
                "Type split.train_token_counts of a TextSplit with this vocabulary."
            )
        config = self.get_config()
        arguments = {name: value for name, value in config.items() if name not in ("vocabulary", "cells")}
        model = type(self).from_parts(vocabulary, self._copied_cells(), **arguments | options)
        of_token = {id(variable) for variable in (self.embedding.embeddings, *self.head.weights)}
        for variable, given in zip(model.weights, self.weights, strict=True):
            if id(given) not in of_token:
                variable.assign(given)
        sources = relatives(vocabulary, known)
        known_tokens = set(known.tokens)
        is_known = [token in known_tokens for token in vocabulary.tokens]
        bias = _first_biases(self.head.bias.numpy(), sources, is_known, counts)
        model.embedding.embeddings.assign(_rows(self.embedding.embeddings, sources, model.embedding.embeddings))
        model.head.kernel.assign(_rows(self.head.kernel, sources, model.head.kernel, axis=1))
        model.head.bias.assign(bias)
        return model

    def _copied_cells(self):
        # Built from the classes themselves, so that a cell need not be registered. The same cell twice stays the same.
        own = {type(cell).__name__: type(cell) for layer in self.recurrent for cell in layer.cells}
        copies: dict[int, Any] = {}
        with keras.saving.custom_object_scope(own):
            for layer in self.recurrent:
                cell = layer.cell
                if id(cell) not in copies:
                    copies[id(cell)] = type(cell).from_config(unbuilt(cell.get_config()))
        return [copies[id(layer.cell)] for layer in self.recurrent]


def _rows(known, sources, fresh, axis=0):
    """The rows, or columns, of known tokens by their ids in `sources`; fresh ones where an id is None."""
    known, fresh = known.numpy(), fresh.numpy()
    from_known = np.array([source is not None for source in sources])
    taken = known.take([source or 0 for source in sources], axis)
    return np.where(np.expand_dims(from_known, 1 - axis), taken, fresh)


def _first_biases(known, sources, is_known, counts):
    """The biases (V,), given those of the known tokens."""
    biases = np.empty(len(sources))
    occurs = np.zeros(len(known))
    if counts is not None:
        for source, same, count in zip(sources, is_known, counts, strict=True):
            if same:
                occurs[source] = count
        frequencies = np.log(counts + 1) - np.log((counts + 1).sum())
    for i, (source, same) in enumerate(zip(sources, is_known, strict=True)):
        if same:
            biases[i] = known[source]
        elif counts is None:
            biases[i] = known.min() if source is None else known[source] + math.log(RARE)
        elif source is None:
            biases[i] = frequencies[i]
        else:
            biases[i] = known[source] + math.log((counts[i] + 1) / (counts[i] + occurs[source] + 2))
    return biases

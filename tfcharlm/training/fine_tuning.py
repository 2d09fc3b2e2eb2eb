"""A run that begins from a trained model instead of random weights: what it keeps, and what is chosen for it."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.layers import CELLS
from tfcharlm.model import CharLM
from tfcharlm.text import TextSplit, Vocabulary
from tfcharlm.training.build import build_optimizer, log_frequencies
from tfcharlm.training.config import OPTIONS, TrainingConfig
from tfcharlm.training.evaluation import Evaluation
from tfcharlm.training.planning import suggested_config, timed_plan
from tfcharlm.training.run import TrainingRun
from tfcharlm.training.sizing import careful_rate

# The peak of the learning rate, as a fraction of that of a new model of the same size: the minimum of the parabola
# through the losses with 0.1, 0.3 and 1 (docs/training-recipe.md).
RATE = 0.5


def joint_vocabulary(known: Vocabulary, text: str) -> Vocabulary:
    """The vocabulary of a model and of a text: the tokens of the model in their order, then those that are new.

    The model keeps the tokens that the text lacks. It can read and write all that it could before, and a token costs
    one row and one column only.

    Args:
        known: the vocabulary of the model.
        text: the text to train on.

    Returns:
        A `Vocabulary` at the level of `known`, which spells all other characters; `known` itself if it has all of
        these tokens.

    Raises:
        ValueError: the text is empty.

    Example:

    >>> from tfcharlm.text import Vocabulary
    >>> from tfcharlm.training import joint_vocabulary
    >>> joint_vocabulary(Vocabulary("cab"), "bead").tokens[:6]
    ('c', 'a', 'b', 'd', 'e', '<0x0>')
    """
    return known.joined(Vocabulary.from_text(text, known.level))


def architecture(model: CharLM) -> dict[str, Any]:
    """The options of a `TrainingConfig` that describe the layers of a model, and its level.

    Args:
        model: a `CharLM`.

    Returns:
        A dictionary of arguments of `TrainingConfig`.

    Raises:
        ValueError: no configuration describes the layers: they differ, or their cells are not cells of this package.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.training import architecture
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc"), [tfcharlm.RNNCell(5)] * 2, embedding_dim=3)
    >>> described = architecture(model)
    >>> described["cell"], described["units"], described["layers"], described["members"]
    ('rnn', 5, 2, 1)
    """
    kinds = {kind: name for name, kind in CELLS.items()}
    described = []
    for layer in model.recurrent:
        cell, name = layer.cell, kinds.get(type(layer.cell))
        options = {} if name is None else {key: getattr(cell, key) for key in cell.config_types if key in OPTIONS}
        described.append({"cell": name, "units": getattr(cell, "units", None)} | options)
    if described[0]["cell"] is None or any(one != described[0] for one in described):
        received = ", ".join(type(layer.cell).__name__ for layer in model.recurrent)
        raise ValueError(
            f"the model to begin from must have equal layers of {', '.join(CELLS)} cells; received {received:.80}. In "
            "Python, type TrainingRun(split, config, model=model.with_vocabulary(split.vocabulary))."
        )
    return {
        "level": model.vocabulary.level,
        "embedding_dim": model.embedding_dim,
        "skip_connections": model.wiring.skip_connections,
        "members": model.wiring.members,
        **described[0],
        "layers": len(described) // model.wiring.members,
    }


def with_architecture(given: Mapping[str, Any], model: CharLM) -> dict[str, Any]:
    """Arguments of `TrainingConfig`, completed by the architecture of the model to begin from.

    Args:
        given: what the user gave. An option of the architecture must be that of the model.
        model: a `CharLM`.

    Returns:
        A dictionary of arguments of `TrainingConfig`.

    Raises:
        ValueError: an option contradicts the model.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.training import with_architecture
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc"), [tfcharlm.LSTMCell(5)])
    >>> with_architecture({"steps": 9}, model)["units"]
    5
    >>> with_architecture({"steps": 9, "units": 7}, model)
    Traceback (most recent call last):
    ValueError: units=7 contradicts the model to begin from, which has units=5; omit it.
    """
    own = architecture(model)
    for name, value in own.items():
        if name in given and given[name] != value:
            received, expected = f"{name}={given[name]}", f"{name}={value}"
            raise ValueError(f"{received} contradicts the model to begin from, which has {expected}; omit it.")
    return {**given, **own}


def weights_sha256(model: CharLM) -> str:
    """The SHA-256 of the weights of a model and of its tokens, in hexadecimal.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.training import weights_sha256
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc"), [tfcharlm.RNNCell(5)])
    >>> len(weights_sha256(model)), weights_sha256(model) == weights_sha256(model.with_vocabulary(model.vocabulary))
    (64, True)
    """
    digest = hashlib.sha256(model.vocabulary.fingerprint.encode())
    for array in model.get_weights():
        digest.update(f"{array.shape} {array.dtype.name}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def fine_tuning_run(
    split: TextSplit,
    given: Mapping[str, Any],
    start: CharLM,
    name: str = "a model",
    strategy: tf.distribute.Strategy | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> TrainingRun:
    """Makes a run that begins from a trained model; `tfcharlm train --from` is a shell around it.

    The model is evaluated before the first step, and this evaluation counts: the run never keeps weights that predict
    the start of the held-out text worse than the model it began from.

    The learning rate is half of that of a new model, so that little of what the model knows is lost. It is as
    high as for a new model if the model predicts the text worse than the frequencies of its tokens do, because then
    there is more to learn than to lose. With `minutes`, `suggest_config` finds the rest for the size of the model.

    Args:
        split: a `TextSplit` whose vocabulary has the level of the model, such as
            `TextSplit.from_text(text, vocabulary=joint_vocabulary(start.vocabulary, text))`.
        given: arguments of `TrainingConfig`. They override what is chosen. Those of the architecture may be left out.
        start: a `CharLM`; it is unchanged.
        name: what checkpoints and records call it, such as "shakespeare/1"; "a model" by default.
        strategy: as for `TrainingRun`.
        earlier: the property `suggested` of the run that this one resumes; None (default) for a new run.

    Returns:
        A `TrainingRun`. Its `start` is the first evaluation, and `began_from` has the name and the digest of the model.

    Raises:
        ValueError: an option contradicts the model or is out of bounds, or the text is too short.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.text import TextSplit, Vocabulary
    >>> from tfcharlm.training import fine_tuning_run, joint_vocabulary
    >>> start = tfcharlm.CharLM(Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> text = "to be or not to be\\n" * 100
    >>> split = TextSplit.from_text(text, vocabulary=joint_vocabulary(start.vocabulary, text))
    >>> run = fine_tuning_run(split, {"epochs": 1, "batch_size": 4, "sequence_length": 16}, start)
    >>> result = run.train()
    >>> result.history[0].step, len(result.model.vocabulary) - len(start.vocabulary)
    (0, 34)
    """
    given = with_architecture(given, start)
    if given.get("minutes") is None:
        config = TrainingConfig(**given)
    else:
        config = suggested_config(split, given, strategy, earlier)
    keras.utils.set_random_seed(config.seed)
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        model = start.with_vocabulary(
            split.vocabulary,
            split.train_token_counts if config.unigram_output_bias else None,
            dropout_seed=config.seed,
            **{option: getattr(config, option) for option in ("dropout", "input_dropout", "weight_drop")},
        )
        model.compile(build_optimizer(config))
    run = TrainingRun(split, config, model)
    run.began_from = {"model": name, "weights_sha256": weights_sha256(start)}
    run.start = _evaluation(run)
    if "learning_rate" not in given and not earlier and run.start.val_loss < unigram_loss(split):
        rate = config.learning_rate if given.get("minutes") is None else careful_rate(config.units)
        run.config = dataclasses.replace(config, learning_rate=round(rate * RATE, 4))
    if given.get("minutes") is not None:
        run.plan = timed_plan(run, earlier)
    return run


def unigram_loss(split: TextSplit) -> float:
    """The loss on the held-out text, in nats per token, of what predicts the frequencies of the tokens to train on.

    Example:

    >>> from tfcharlm.text import TextSplit
    >>> from tfcharlm.training import unigram_loss
    >>> round(unigram_loss(TextSplit.from_text("ab" * 10_000)), 2)  # as often a as b
    0.69
    """
    counts = split.validation.token_counts
    return -float(log_frequencies(split.train_token_counts) @ counts / counts.sum())


def _evaluation(run):
    """The evaluation before the first step."""
    measured = run.model.evaluate(run.evaluation_data, verbose=0, return_dict=True)
    return Evaluation(0, 0.0, 0, 0.0, None, None, measured["loss"], measured["bits_per_character"])

"""CharLMHyperModel: what a search may choose, and how a trial is trained, for any tuner of Keras Tuner."""

import dataclasses
import math

import keras
import keras_tuner

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.model import NonFiniteError
from tfcharlm.text import TextSplit, stream_dataset
from tfcharlm.training import OPTIONS, TUNABLE, TrainingConfig, TrainingRun, build_model
from tfcharlm.tuning.pruning import is_behind

# What a search tries; the defaults of `TrainingConfig` are among the values.
CHOICES = {name: OPTIONS[name].metadata["search"] for name in TUNABLE if OPTIONS[name].metadata["search"]}
LEARNING_RATES = 1e-3, 3e-2
SEARCHED = (*CHOICES, "learning_rate")
# The other options are searched only if values of them are given.
GIVEN = tuple(name for name in TUNABLE if name not in SEARCHED)
# Held-out tokens that an evaluation reads, in one shape for all trials: losses on other tokens could not be compared.
VALIDATION_TOKENS, VALIDATION_SHAPE = 2**16, {"batch_size": 64, "sequence_length": 64}


class CharLMHyperModel(keras_tuner.HyperModel):
    """A search space of character models on one text, with the same budget for every trial.

    Works with `keras_tuner.RandomSearch`, `Hyperband`, `BayesianOptimization` and `GridSearch` as they are. The
    objective is `val_loss`, nats per token on the beginning of the held-out text, and `search` takes no data. A budget
    of minutes includes tracing but not the evaluations. A budget of steps does not depend on the machine, and gives a
    larger batch more text. What a tuner calls an epoch is an evaluation: `num_evaluations` of them make a trial.
    Hyperband's `max_epochs` is this number, and each of its rounds trains with a schedule of its own.

    Args:
        text: the corpus.
        minutes: time to train a trial. Either this or `steps`.
        steps: updates of the weights in a trial.
        level: what a token is: "char", "byte" or "word".
        validation_fraction: fraction of the text, at its end, that is held out.
        seed: seed of every trial's weights, windows and dropout; trials differ only by what was chosen.
        num_evaluations: evaluations of a trial, at equal fractions of its budget.
        prune: whether a trial ends early if it is behind the median of the others at the same evaluation. Hyperband
            prunes by itself and does not use this.
        **choices: for any of `tfcharlm.training.TUNABLE` (`TrainingConfig` explains them) one value, which fixes it, or
            a list of values. Options that are not given are chosen from `tfcharlm.tuning.CHOICES`, the learning rate
            log-uniformly from 0.001 to 0.03; those without choices have the default of `TrainingConfig`.

    Raises:
        ValueError: an argument is out of range, or the text is too short for the batches.
        TypeError: there is no such choice.

    Example:

    >>> import tempfile
    >>> import keras_tuner
    >>> import tfcharlm
    >>> text = "to be or not to be\\n" * 100
    >>> hypermodel = tfcharlm.CharLMHyperModel(text, steps=20, num_evaluations=2, layers=1, units=[4, 8])
    >>> directory = tempfile.mkdtemp()
    >>> tuner = keras_tuner.RandomSearch(hypermodel, "val_loss", max_trials=2, seed=1, directory=directory)
    >>> tuner.search(verbose=0)
    >>> tuner.get_best_hyperparameters()[0]["layers"]
    1

    Reference: Golovin et al. (2017), Google Vizier, for the pruning.
    """

    def __init__(self, text, minutes=None, steps=None, level="char", validation_fraction=0.1, seed=0,
                 num_evaluations=9, prune=True, **choices):  # fmt: skip
        super().__init__(name="CharLM")
        unknown = sorted(choices.keys() - set(TUNABLE))
        if unknown:
            raise TypeError(f"there is no choice of {unknown[0]}; there is one of {', '.join(TUNABLE)}.")
        if (minutes is None) == (steps is None):
            received = f"minutes={minutes}, steps={steps}"
            raise ValueError(f"give either minutes or steps of a trial, such as minutes=1; received {received}.")
        self.base = TrainingConfig(
            minutes=minutes, steps=steps, level=level, validation_fraction=validation_fraction, seed=seed
        )
        self.num_evaluations = POSITIVE_INTEGER.check("num_evaluations", num_evaluations)
        self.prune = prune
        # The losses of finished trials, a list each; a tuner that knows more of them may replace it.
        self.curves = []
        self.split = TextSplit.from_text(text, level, validation_fraction)
        self.choices = self._checked(choices)
        some = self.split.validation_ids[:VALIDATION_TOKENS]
        self._evaluation_data = stream_dataset(some, **VALIDATION_SHAPE, drop_remainder=False)

    def _checked(self, given):
        """All choices as lists, or None for the range of learning rates; each value is one that can be trained with."""
        names = (*SEARCHED, *(name for name in GIVEN if name in given))
        choices = {name: given.get(name, CHOICES.get(name)) for name in names}
        choices = {name: [v] if isinstance(v, (str, int, float)) else v for name, v in choices.items()}
        for name, values in choices.items():
            if values is not None and not values:
                raise ValueError(f"{name} must be a value or a list of some; received {given[name]!r}.")
            for value in values or ():
                dataclasses.replace(self.base, **{name: value})
        if "rnn" in choices["cell"] and True in choices.get("cap_input_gate", ()):
            received = f"cell={choices['cell']}"
            raise ValueError(
                f'cap_input_gate is of an LSTM\'s input gate; give cell="lstm" with it; received {received}.'
            )
        return choices | self._fitting(choices["batch_size"], choices["sequence_length"], given)

    def _fitting(self, batch_sizes, lengths, given):
        """Those of our own choices that leave a batch for the text; what the user chose must."""
        targets = len(self.split.train_ids) - 1
        if "sequence_length" not in given:
            lengths = [length for length in lengths if length * min(batch_sizes) <= targets] or lengths[:1]
        if "batch_size" not in given:
            batch_sizes = [rows for rows in batch_sizes if rows * max(lengths) <= targets] or batch_sizes[:1]
        if max(lengths) * max(batch_sizes) > targets:
            raise ValueError(
                f"the text has {targets:,} tokens to train on, too few for batch_size={max(batch_sizes)} with "
                f"sequence_length={max(lengths)}; type smaller ones, such as batch_size=4, sequence_length=16."
            )
        return {"batch_size": batch_sizes, "sequence_length": lengths}

    def config(self, hp):
        """The `TrainingConfig` that stands behind hyperparameters."""
        return dataclasses.replace(self.base, **{name: self._choose(hp, name) for name in self.choices})

    def _choose(self, hp, name):
        values, default = self.choices[name], getattr(TrainingConfig, name)
        if values is None:
            return hp.Float(name, *LEARNING_RATES, sampling="log", default=default)
        if len(values) == 1:
            return hp.Fixed(name, values[0])
        chosen = hp.Choice(name, values, default=default if default in values else values[0])
        # It has numbers in the places of booleans.
        return bool(chosen) if isinstance(default, bool) else chosen

    def build(self, hp):
        """The compiled `CharLM` of these hyperparameters, as `tfcharlm.training.config.build_model` makes it."""
        return build_model(self.split, self.config(hp))

    def fit(self, hp, model, callbacks=(), epochs=None, initial_epoch=0, verbose=0):
        """Trains a model within the budget.

        Args:
            hp: what `model` was built from.
            model: a `CharLM`, as `build` made it or trained before.
            callbacks: of Keras or a tuner. Every report is an epoch for them.
            epochs: reports at which to stop, if it is not after the whole budget.
            initial_epoch: reports that the model has behind it.
            verbose: taken because a tuner gives it; there is nothing to print.

        Returns:
            A `keras.callbacks.History`, an entry a report: loss, bits_per_character, val_loss,
            val_bits_per_character, learning_rate, seconds, step. A loss that is no number counts as what guessing
            gives, the logarithm of the vocabulary's size: a fallback that every model has.
        """
        num_evaluations = (self.num_evaluations if epochs is None else epochs) - initial_epoch
        config = self.config(hp)
        # Later rounds of Hyperband read other windows.
        run = TrainingRun(self.split, dataclasses.replace(config, seed=(config.seed + initial_epoch) % 2**32), model)
        history = keras.callbacks.History()
        listeners = keras.callbacks.CallbackList([history, *callbacks], model=model)
        prune = self.prune and epochs is None
        guessing = math.log(len(self.split.vocabulary))

        budget, told = run.budget(num_evaluations / self.num_evaluations), 0

        def on_evaluation(evaluation, so_far):
            nonlocal told
            logs = dataclasses.asdict(evaluation)
            del logs["tokens"]
            if not math.isfinite(evaluation.val_loss):
                logs |= {"val_loss": guessing, "val_bits_per_character": guessing / math.log(2)}
            # A step that takes longer than the time between two evaluations stands for both: the n-th one is at the
            # same fraction of the budget in every trial.
            due = math.floor(budget.fraction_done(evaluation.step) * num_evaluations)
            for epoch in range(initial_epoch + told, initial_epoch + due):
                listeners.on_epoch_end(epoch, logs)
                if epoch + 1 < initial_epoch + num_evaluations:
                    listeners.on_epoch_begin(epoch + 1)
            told = due
            if prune and is_behind(history.history["val_loss"], self.curves, self.num_evaluations):
                model.stop_training = True

        steps = keras.callbacks.LambdaCallback(
            on_train_batch_begin=listeners.on_train_batch_begin, on_train_batch_end=listeners.on_train_batch_end
        )
        listeners.on_train_begin()
        listeners.on_epoch_begin(initial_epoch)
        _, ended = run.fit(
            budget, on_evaluation, [steps], num_evaluations, self._evaluation_data, pause_clock_during_evaluation=True
        )
        if isinstance(ended, NonFiniteError):
            fallback = {"val_loss": guessing, "val_bits_per_character": guessing / math.log(2)}
            listeners.on_epoch_end(initial_epoch + told, fallback)
        elif ended is not None:
            raise ended
        listeners.on_train_end()
        self.curves.append(history.history.get("val_loss", []))
        return history

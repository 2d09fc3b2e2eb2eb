"""CharLMHyperModel: what a search may choose and how a trial is trained, for every tuner of Keras Tuner."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import keras_tuner

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.model import CharLM, NonFiniteError
from tfcharlm.text import TextSplit
from tfcharlm.training import (
    CHOICES,
    START_UP,
    TUNABLE,
    TrainingConfig,
    TrainingRun,
    build_model,
    fitting_shapes,
    space_around,
    suggested_options,
)
from tfcharlm.tuning.pruning import is_behind

LEARNING_RATES = 1e-3, 3e-2
# How many held-out tokens an evaluation reads, and in what shape. It is the same for all trials: losses on different
# tokens could not be compared.
VALIDATION_TOKENS = 2**16
VALIDATION_SHAPE: dict[str, Any] = {"batch_size": 64, "sequence_length": 64}


class CharLMHyperModel(keras_tuner.HyperModel):
    """A search space of character models for one text, with the same budget for every trial.

    It works with `keras_tuner.RandomSearch`, `Hyperband`, `BayesianOptimization` and `GridSearch` unchanged. The
    objective is `val_loss`, in nats per token on the start of the held-out text. The tuner's `search` takes no data.

    A budget in minutes includes tracing but not the evaluations. A budget in steps does not depend on the machine, but
    a larger batch then reads more text. What a tuner calls an epoch is an evaluation here: a trial has
    `num_evaluations` of them. This number is also Hyperband's `max_epochs`; each of its rounds trains with a
    learning-rate schedule of its own.

    Args:
        text: the corpus; or a `TextSplit`, which has a level and a held-out part already.
        minutes: time to train a trial. Give either this or `steps`.
        steps: number of weight updates in a trial.
        level: what a token is: "char", "byte" or "word".
        validation_fraction: fraction of the text, at its end, that is held out.
        seed: seed of the weights, windows and dropout. It is the same for every trial, so that trials differ only in
            their hyperparameters.
        num_evaluations: number of evaluations in a trial, at equal fractions of its budget.
        prune: whether to end a trial early if it is behind the median of the others at the same evaluation. Hyperband
            prunes by itself and does not use this.
        speed: floating-point operations per second that a trial may use, such as `tfcharlm.training.measured_speed()`.
            With it and `minutes`, the first trial has the options that `suggest_config` chooses for the text and the
            time, and the others have values near them (`space_around`). None (default) searches the same values for
            every text, and the first trial has the defaults of `TrainingConfig`.
        **choices: values for any of `tfcharlm.training.TUNABLE`, which `TrainingConfig` explains. One value fixes an
            option; a list gives the values to choose from. Options that you do not pass are chosen from
            `tfcharlm.tuning.CHOICES`, and the learning rate log-uniformly from 0.001 to 0.03. Options without choices
            have the default of `TrainingConfig`.

    Raises:
        ValueError: an argument is out of range, or the text is too short for the batches.
        TypeError: a choice is not one of `TUNABLE`.

    Example:

    >>> import tempfile
    >>> import keras_tuner
    >>> import tfcharlm
    >>> text = "to be or not to be\\n" * 100
    >>> hypermodel = tfcharlm.CharLMHyperModel(text, steps=20, num_evaluations=2, layers=1, units=[4, 8])
    >>> directory = tempfile.mkdtemp()
    >>> tuner = keras_tuner.RandomSearch(hypermodel, "val_loss", max_trials=1, seed=1, directory=directory)
    >>> tuner.search(verbose=0)
    >>> tuner.get_best_hyperparameters()[0]["layers"]
    1

    Reference: Golovin et al. (2017), Google Vizier: a service for black-box optimization, for the pruning.
    """

    def __init__(
        self,
        text: str | TextSplit,
        minutes: float | None = None,
        steps: int | None = None,
        level: str = "char",
        validation_fraction: float = 0.1,
        seed: int = 0,
        num_evaluations: int = 9,
        prune: bool = True,
        speed: float | None = None,
        **choices: Any,
    ) -> None:
        super().__init__(name="CharLM")
        unknown = sorted(choices.keys() - set(TUNABLE))
        if unknown:
            raise TypeError(f"a choice must be one of {', '.join(TUNABLE)}; received {unknown[0]}.")
        if (minutes is None) == (steps is None):
            received = "neither" if minutes is None else f"minutes={minutes}, steps={steps}"
            raise ValueError(f"give either minutes or steps for a trial, such as minutes=1; received {received}.")
        level = text.vocabulary.level if isinstance(text, TextSplit) else level
        self.base = TrainingConfig(
            minutes=minutes, steps=steps, level=level, validation_fraction=validation_fraction, seed=seed
        )
        self.num_evaluations: int = POSITIVE_INTEGER.check("num_evaluations", num_evaluations)
        self.prune = prune
        # One list of losses for each finished trial. A tuner that knows of more trials may replace it.
        self.curves: list[list[float]] = []
        self.split = text if isinstance(text, TextSplit) else TextSplit.from_text(text, level, validation_fraction)
        self._space: dict[str, list] = CHOICES
        self._rates: Sequence[float] = LEARNING_RATES
        if speed is not None and minutes is not None:
            listed = {name: value if isinstance(value, list) else [value] for name, value in choices.items()}
            fixed = {name: values[0] for name, values in listed.items() if len(values) == 1}
            dataclasses.replace(self.base, **fixed)
            suggested = suggested_options(self.split, fixed, 60 * minutes + START_UP, speed) | fixed
            self.base = dataclasses.replace(self.base, **suggested)
            self._space = space_around(suggested)
            self._rates = self._space.pop("learning_rate")
            # What is not searched is recorded with a trial, too: another process may measure another speed.
            others = suggested.keys() - self._space.keys() - {"learning_rate"}
            self._space |= {name: [suggested[name]] for name in sorted(others)}
        if self.split.kind == "lines":
            # Items are read whole.
            self._space = self._space | {"sequence_length": [self.base.sequence_length]}
        self.choices: dict[str, list | None] = self._checked(choices)
        self._evaluation_data = self.split.validation_dataset(**VALIDATION_SHAPE, tokens=VALIDATION_TOKENS)

    def _checked(self, given):
        """All choices as lists; None stands for the range of learning rates. Every value is valid for training."""
        names = (*self._space, "learning_rate", *(name for name in TUNABLE if name in given))
        choices = {name: given.get(name, self._space.get(name)) for name in dict.fromkeys(names)}
        choices = {name: [v] if isinstance(v, (str, int, float)) else v for name, v in choices.items()}
        for name, values in choices.items():
            if values is not None and not values:
                raise ValueError(f"{name} must be a value or a list of values; received {given[name]!r}.")
            for value in values or ():
                dataclasses.replace(self.base, **{name: value})
        for cell, cap in itertools.product(choices["cell"], choices.get("cap_input_gate", ())):
            dataclasses.replace(self.base, cell=cell, cap_input_gate=cap)
        if self.split.kind != "stream":
            return choices  # any number of items or of documents fills a batch
        shapes = fitting_shapes(
            choices["batch_size"],
            choices["sequence_length"],
            targets=len(self.split.train_ids) - 1,
            given=given,
            suggested_length=None if self._space is CHOICES else self.base.sequence_length,
        )
        return choices | dict(zip(("batch_size", "sequence_length"), shapes, strict=True))

    def config(self, hp: keras_tuner.HyperParameters) -> TrainingConfig:
        """The `TrainingConfig` that these hyperparameters describe."""
        return dataclasses.replace(self.base, **{name: self._choose(hp, name) for name in self.choices})

    def _choose(self, hp, name):
        values, default = self.choices[name], getattr(self.base, name)
        if values is None:
            return hp.Float(name, *self._rates, sampling="log", default=default)
        if len(values) == 1:
            return hp.Fixed(name, values[0])
        chosen = hp.Choice(name, values, default=default if default in values else values[0])
        # Keras Tuner returns a number where the choices are booleans.
        return bool(chosen) if isinstance(default, bool) else chosen

    def build(self, hp: keras_tuner.HyperParameters) -> CharLM:
        """Builds the compiled `CharLM` of these hyperparameters, with `tfcharlm.training.build_model`."""
        return build_model(self.split, self.config(hp))

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: CharLM,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        epochs: int | None = None,
        initial_epoch: int = 0,
        verbose: int | str = 0,
    ) -> keras.callbacks.History:
        """Trains a model within the budget.

        Args:
            hp: the hyperparameters that `model` was built from.
            model: a `CharLM` from `build`, new or already trained.
            callbacks: Keras callbacks, or those of a tuner. Every evaluation is an epoch for them.
            epochs: number of the evaluation at which to stop; None (default) trains for the whole budget.
            initial_epoch: number of evaluations that the model has had before.
            verbose: ignored. A tuner passes it, but nothing is printed.

        Returns:
            A `keras.callbacks.History` with one entry per evaluation: loss, bits_per_character, val_loss,
            val_bits_per_character, learning_rate, seconds, step. A loss that is not finite counts as the loss of
            guessing, the logarithm of the vocabulary's size, because every model can fall back to guessing.
        """
        num_evaluations = (self.num_evaluations if epochs is None else epochs) - initial_epoch
        config = self.config(hp)
        # Later rounds of Hyperband read other windows.
        run = TrainingRun(self.split, dataclasses.replace(config, seed=(config.seed + initial_epoch) % 2**32), model)
        history = keras.callbacks.History()
        listeners = keras.callbacks.CallbackList([history, *callbacks], model=model)
        prune = self.prune and epochs is None
        guessing = math.log(len(self.split.vocabulary))

        budget, epochs_done = run.budget(num_evaluations / self.num_evaluations), 0

        def on_evaluation(evaluation, so_far):
            nonlocal epochs_done
            logs = dataclasses.asdict(evaluation)
            del logs["tokens"]
            if not math.isfinite(evaluation.val_loss):
                logs |= {"val_loss": guessing, "val_bits_per_character": guessing / math.log(2)}
            # If one step takes longer than the time between two evaluations, its evaluation counts for both. So the
            # n-th evaluation is at the same fraction of the budget in every trial.
            due = math.floor(budget.fraction_done(evaluation.step) * num_evaluations)
            for epoch in range(initial_epoch + epochs_done, initial_epoch + due):
                listeners.on_epoch_end(epoch, logs)
                if epoch + 1 < initial_epoch + num_evaluations:
                    listeners.on_epoch_begin(epoch + 1)
            epochs_done = due
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
            listeners.on_epoch_end(initial_epoch + epochs_done, fallback)
        elif ended is not None:
            raise ended
        listeners.on_train_end()
        self.curves.append(history.history.get("val_loss", []))
        return history

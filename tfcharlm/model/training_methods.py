"""`compile`, `fit` and the other methods that train or evaluate: arguments are checked, then Keras does the work."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.generation import check_not_forked
from tfcharlm.model.arguments import check_trained
from tfcharlm.model.arrays import check_targets, checked_arrays, is_array
from tfcharlm.model.guard import unless_updated, with_guard

# Arguments of `compile` that Keras does not save, or not as they were given, and their defaults. Without the first, a
# model that is loaded would not find the variables of its optimizer; without the second, it would generate without XLA.
FORGOTTEN = {"auto_scale_loss": True, "jit_compile": "auto"}


class TrainingMethods(keras.Model):
    """A base of `StreamModel`: the methods of `keras.Model` that train and evaluate, with Keras's arguments."""

    compiles_generation: bool

    def compile(self, optimizer: str | keras.optimizers.Optimizer = "adam", *arguments: Any, **named: Any) -> None:
        """Configures training, as `keras.Model.compile` does. The loss is built in: cross-entropy of the next token.

        Args:
            optimizer: a Keras optimizer, or its name.
            *arguments: further arguments of `keras.Model.compile`, in their order.
            **named: further arguments of `keras.Model.compile`, apart from `loss` and `loss_weights`. A metric in
                `metrics` or `weighted_metrics` with the name of one of the model's own replaces it in the results.
                `jit_compile=False` turns XLA off in generation, too.

        Raises:
            ValueError: there is a `loss`, an argument that is not supported under a strategy, or a weight of 16 bits.
        """
        options = _bound(super().compile, optimizer, *arguments, **named)
        for name in ("loss", "loss_weights"):
            if options.get(name) is not None:
                raise ValueError(
                    f"{name} must be None, because CharLM has its own, the cross-entropy of the next token; "
                    f"received {name}={options[name]!r:.80}. Type model.compile(optimizer=...)."
                )
        POSITIVE_INTEGER.check("steps_per_execution", options.get("steps_per_execution", 1))
        check_trained(self.trainable_variables)
        self.replicas.check_compile(options)
        self._given = {name: options.get(name, default) for name, default in FORGOTTEN.items()}
        if isinstance(self._given["jit_compile"], bool):
            self.compiles_generation = self._given["jit_compile"]
        with self.replicas.scope():
            super().compile(**options)
            if self.replicas.is_distributed:
                self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile` as plain data."""
        config = super().get_compile_config()
        return config and config | {f"given_{name}": value for name, value in self._given.items()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model with what `get_compile_config` returned, and makes the variables of the optimizer."""
        config = keras.saving.deserialize_keras_object(config)
        given = {name: config.pop(f"given_{name}", default) for name, default in FORGOTTEN.items()}
        self.compile(**config | given)
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    @property
    def distribute_strategy(self) -> tf.distribute.Strategy:
        # Keras would distribute the rows of every batch itself, and sum metrics as if they were averages. Here it sees
        # one process; the replicas are in `Replicas.step_function`.
        return tf.distribute.get_strategy()

    def fit(self, x: Any = None, *arguments: Any, **named: Any) -> keras.callbacks.History:
        """Trains, as `keras.Model.fit` does.

        Under a strategy every worker calls it with the same data set, and each replica reads its own rows.

        Args:
            x: a data set such as `tfcharlm.text.stream_dataset(...)`, or an array of tokens (N, T). With an array, `y`
                has the token after each of them.
            *arguments: further arguments of `keras.Model.fit`, in their order.
            **named: further arguments of `keras.Model.fit`, such as `epochs` and `callbacks`, apart from
                `class_weight`. A `tfcharlm.Checkpoint` saves the run and resumes it. `shuffle` is None by default: rows
                of arrays are shuffled, and batches of a data set, or rows with `start`, stay in their order.

        Returns:
            A `keras.callbacks.History` with `loss`, `accuracy`, `perplexity` and `bits_per_character` of each epoch.

        Raises:
            NonFiniteError: a number was not finite in ten steps in a row (see `tfcharlm.Guard`).
            ValueError: the model is not compiled, or an argument cannot be used.
        """
        options = _bound(super().fit, x, *arguments, **named)
        options["callbacks"] = with_guard(options.get("callbacks"))
        # A callback that saves and resumes runs, such as `Checkpoint`, calls Keras's `fit` itself, perhaps repeatedly.
        # It also says which data it takes.
        driver = next((callback for callback in options["callbacks"] if hasattr(callback, "run_fit")), None)
        options = self._checked("fit", options, needs_targets=driver is None)
        if options.get("validation_data") is not None:
            options["validation_data"] = _validation_data(options["validation_data"])
        frequency = options.get("validation_freq", 1)
        if not isinstance(frequency, list):
            POSITIVE_INTEGER.check("validation_freq", frequency, ", or a list of epochs")
        options["shuffle"] = _shuffle(options.get("shuffle") if "shuffle" in options else None, options["x"])
        self._prepare_to_train()
        with unless_updated(self):
            if driver is None:
                return super().fit(**options)
            return driver.run_fit(self, super().fit, options.pop("x"), options)

    def evaluate(self, x: Any = None, *arguments: Any, **named: Any) -> Any:
        """Evaluates, as `keras.Model.evaluate` does; under a strategy every worker calls it, as with `fit`."""
        return super().evaluate(**self._checked("evaluate", _bound(super().evaluate, x, *arguments, **named)))

    def predict(self, x: Any, *arguments: Any, **named: Any) -> Any:
        """Logits (N, T, V), as `keras.Model.predict` computes them. Every row starts from a zero state."""
        return super().predict(checked_arrays(x)[0], *arguments, **named)

    def train_on_batch(self, x: Any, *arguments: Any, **named: Any) -> Any:
        """Trains on one batch, as `keras.Model.train_on_batch` does. A step that is skipped is told by a warning."""
        options = self._checked("train_on_batch", _bound(super().train_on_batch, x, *arguments, **named))
        self._prepare_to_train()
        result = super().train_on_batch(**options)
        notes = self.nonfinite_monitor.read()
        if notes.in_a_row:
            warnings.warn(f"the step was skipped: {notes.found} is not finite (loss {notes.loss:.4g})", stacklevel=2)
        return result

    def test_on_batch(self, x: Any, *arguments: Any, **named: Any) -> Any:
        """Evaluates one batch, as `keras.Model.test_on_batch` does."""
        options = self._checked("test_on_batch", _bound(super().test_on_batch, x, *arguments, **named))
        return super().test_on_batch(**options)

    def predict_on_batch(self, x: Any) -> Any:
        """Logits (B, T, V) of one batch, as `keras.Model.predict_on_batch` computes them."""
        return super().predict_on_batch(checked_arrays(x)[0])

    def _checked(self, verb: str, options: dict[str, Any], needs_targets: bool = True) -> dict[str, Any]:
        """The arguments of a method, with tensors for lists."""
        check_not_forked()
        if not self.compiled:
            raise ValueError(f"the model must be compiled before {verb}. Type model.compile().")
        self.replicas.check(options["x"], verb)
        if options.get("class_weight") is not None:
            raise ValueError(
                "class_weight must be None, because Keras would take the largest id of a row for its class. Weight "
                "tokens instead: sample_weight=weights[y], with weights an array (V,)."
            )
        names = ("x", "y", "sample_weight")
        options |= zip(names, checked_arrays(*map(options.get, names)), strict=True)
        if needs_targets:
            check_targets(options["x"], options["y"])
        return options if self.replicas.is_chief else options | {"verbose": 0}

    def _prepare_to_train(self) -> None:
        if self.optimizer is None:
            raise ValueError("optimizer must be a Keras optimizer; received None. Type model.compile('adam').")
        # Otherwise its variables would be made while the first step is traced, which is then traced twice.
        if not self.optimizer.built:
            with self.replicas.scope():
                self.optimizer.build(self.trainable_variables)


def _bound(method: Callable, *arguments: Any, **named: Any) -> dict[str, Any]:
    """The arguments of a call by name, those that Keras hands to itself included."""
    options = inspect.signature(method).bind(*arguments, **named).arguments
    return options | options.pop("kwargs", {})


def _validation_data(data: Any) -> Any:
    """The validation data of a `fit`, with tensors for lists. An error after an epoch of training would be late."""
    if not isinstance(data, (list, tuple)):
        check_targets(data, None)
        return data
    x, y, weights = checked_arrays(*keras.utils.unpack_x_y_sample_weight(tuple(data)))
    check_targets(x, y)
    return x, y, weights


def _shuffle(shuffle: bool | None, x: Any) -> bool:
    """Whether Keras shall shuffle. It would not keep the order in which rows continue, and warn about data sets."""
    continues = isinstance(x, Mapping) and x.get("start") is not None
    if shuffle and continues:
        raise ValueError(
            'shuffle must be False or None if x has the key "start", because rows continue those of the batch before; '
            f"received {shuffle!r:.80}."
        )
    return is_array(x) and not continues if shuffle is None else shuffle

"""The weights that an optimizer has averaged, if it averages them."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    r"""A context in which the model has the weights that its optimizer has averaged, if it averages them.

    $$ \bar w \leftarrow \mu \bar w + (1 - \mu) w \text{ after every update} $$

    Args:
        model: a compiled model; its optimizer averages with `use_ema=True`.

    Example:

    >>> import keras
    >>> import tfcharlm
    >>> from tfcharlm.training import averaged_weights
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    >>> model.compile(keras.optimizers.Adam(use_ema=True))
    >>> for inputs, targets in tfcharlm.text.stream_dataset([0, 1] * 20, batch_size=2, sequence_length=7):
    ...     loss = model.train_on_batch(inputs, targets)
    >>> bias = model.head.bias.numpy()
    >>> with averaged_weights(model):
    ...     print((model.head.bias.numpy() == bias).all())
    False
    >>> print((model.head.bias.numpy() == bias).all())
    True

    Reference: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging.
    """
    # An optimizer that scales the loss has the real one inside.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    # Before the first update the averages are zeros.
    if not getattr(optimizer, "use_ema", False) or not optimizer.built or not optimizer.iterations.numpy():
        yield
        return
    weights = [variable.numpy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)


def restart_averages(model: keras.Model) -> None:
    """Lets an optimizer that averages the weights begin with those that the model has now.

    Args:
        model: a compiled model.
    """
    # An optimizer that scales the loss has the real one inside.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if getattr(optimizer, "use_ema", False) and optimizer.built:
        averages = optimizer._model_variables_moving_average
        for average, variable in zip(averages, optimizer._trainable_variables, strict=True):
            average.assign(variable)

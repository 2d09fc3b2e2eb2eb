"""The model and the optimizer that a configuration describes."""

import keras
import numpy as np

from tfcharlm.layers import CELLS
from tfcharlm.model import CharLM
from tfcharlm.text import TextSplit
from tfcharlm.training.config import OPTIONS, TrainingConfig


def build_model(split: TextSplit, config: TrainingConfig) -> CharLM:
    """Builds and compiles the model that a configuration describes.

    Args:
        split: a `TextSplit`. The model gets its vocabulary, and may start with the frequencies of its tokens.
        config: a `TrainingConfig`. The weights are drawn from its seed.

    Returns:
        A compiled `CharLM`.

    Example:

    >>> from tfcharlm.text import TextSplit
    >>> from tfcharlm.training import TrainingConfig, build_model
    >>> split = TextSplit.from_text("to be or not to be")
    >>> model = build_model(split, TrainingConfig(steps=1, units=8, layers=2))
    >>> [layer.cell.units for layer in model.recurrent]
    [8, 8]
    """
    keras.utils.set_random_seed(config.seed)
    kind = CELLS[config.cell]
    cell_options = {name: getattr(config, name) for name in kind.config_types if name in OPTIONS}
    model = CharLM(
        split.vocabulary,
        cells=[kind(config.units, **cell_options) for _ in range(config.layers * config.members)],
        dropout_seed=config.seed,
        **{name: getattr(config, name) for name, field in OPTIONS.items() if field.metadata["of_model"]},
    )
    if config.unigram_output_bias:
        model.head.bias.assign(log_frequencies(split.train_token_counts))
    model.compile(build_optimizer(config))
    return model


def build_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Builds the optimizer that a configuration describes.

    Args:
        config: a `TrainingConfig`.

    Returns:
        AdamW, which does not decay biases; Adam if `weight_decay` is 0.

    Example:

    >>> from tfcharlm.training import TrainingConfig, build_optimizer
    >>> optimizer = build_optimizer(TrainingConfig(steps=1, weight_decay=0.0))
    >>> type(optimizer).__name__, optimizer.global_clipnorm
    ('Adam', 1.0)
    """
    shared = {"global_clipnorm": config.clip_norm}
    if config.ema_momentum:
        shared |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    if not config.weight_decay:
        return keras.optimizers.Adam(config.learning_rate, **shared)
    optimizer = keras.optimizers.AdamW(config.learning_rate, config.weight_decay, **shared)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def log_frequencies(counts: np.ndarray) -> np.ndarray:
    r"""The logarithm of every id's relative frequency; each id counts once more than it occurs.

    $$ \log \frac{n_i + 1}{\sum_j (n_j + 1)} $$

    Args:
        counts: how often each id occurs, integers (V,).

    Returns:
        float64 (V,).

    Example:

    >>> import numpy as np
    >>> from tfcharlm.training import log_frequencies
    >>> np.exp(log_frequencies(np.array([2, 1, 0]))).round(3)
    array([0.5  , 0.333, 0.167])

    Reference: Laplace's rule of succession.
    """
    counts = counts + 1
    return np.log(counts / counts.sum())

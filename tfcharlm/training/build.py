"""The model and the optimizer that a configuration describes."""

import keras
import numpy as np

from tfcharlm.layers import CELLS
from tfcharlm.model import CharLM
from tfcharlm.training.config import OPTIONS


def build_model(split, config):
    """The model that a `TrainingConfig` describes, compiled, its weights drawn from the seed.

    Args:
        split: a `TextSplit`; its vocabulary and the frequencies of its tokens are used.
        config: a `TrainingConfig`.

    Returns:
        A `CharLM`.
    """
    keras.utils.set_random_seed(config.seed)
    kind = CELLS[config.cell]
    cell_options = {name: getattr(config, name) for name in kind.config_types if name in OPTIONS}
    model = CharLM(
        split.vocabulary,
        cells=[kind(config.units, **cell_options) for _ in range(config.layers)],
        dropout_seed=config.seed,
        **{name: getattr(config, name) for name, field in OPTIONS.items() if field.metadata["of_model"]},
    )
    if config.unigram_output_bias:
        model.head.bias.assign(log_frequencies(split.train_token_counts))
    model.compile(build_optimizer(config))
    return model


def build_optimizer(config):
    """Adam, or AdamW with weight decay, as a `TrainingConfig` describes it."""
    shared = {"global_clipnorm": config.clip_norm}
    if config.ema_momentum:
        shared |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    if not config.weight_decay:
        return keras.optimizers.Adam(config.learning_rate, **shared)
    optimizer = keras.optimizers.AdamW(config.learning_rate, config.weight_decay, **shared)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def log_frequencies(counts):
    r"""The logarithm of every id's relative frequency, each counted once more than it occurs.

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

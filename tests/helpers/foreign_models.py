"""SavedModels that this package did not write."""

import tensorflow as tf


def save_foreign_model(folder):
    """A SavedModel with a signature of its own; returns its directory."""
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None, 3], tf.float32)])
    tf.saved_model.save(module, str(folder / "foreign"))
    return folder / "foreign"

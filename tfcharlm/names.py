"""Names that options take, for the command line, which reads them before TensorFlow has started.

What they name is elsewhere; a test compares the two (tests/test_names.py).
"""

# The cells by their short names, with the options that only they have.
CELL_OPTIONS: dict[str, tuple[str, ...]] = {"lstm": ("cap_input_gate",), "gru": (), "rnn": ()}
# What a model is exported as.
EXPORT_FORMATS = ("tf_saved_model", "litert", "onnx", "html")

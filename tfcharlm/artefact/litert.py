"""LiteRT, formerly TensorFlow Lite: TensorFlow's own converter, applied to `model.step`."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.artefact.edge_files import checked_target, named_states, publish
from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.generation import with_default_settings


def export_litert(model: ExportableModel, filepath: Path | str) -> Path:
    """Writes one step of a model as a LiteRT file of built-in operations, and beside it `<filepath>.json`.

    The signature `step` takes `tokens` int32 (B, 1) and `state_0`, `state_1`, ... float32 (B, units), in the order of
    `model.initial_state`. It returns `logits` float32 (B, 1, V) and `next_state_0`, ... (B, units). B is 1 until the
    inputs are resized, which a signature runner does by itself. A bfloat16 model is converted to float32, with the
    same weights.

    The JSON file has what turns text into ids and back:

    - `format`, and `level` and `tokens` of the vocabulary;
    - `pattern`, a regular expression whose matches are the tokens of a text (at level "byte": of its UTF-8, with one
      character for each byte);
    - `start`, the ids that `generate` reads before a prompt: that of the newline, if there is one;
    - `states`, a list of `{"input": name, "output": name, "shape": [null, units]}`. States start as zeros.

    Args:
        model: a `CharLM`, with cells of any kind.
        filepath: the file to make, ending in `.tflite`.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: the file or its JSON file exists already; nothing is overwritten.
        ValueError: `filepath` has another ending, a cell does not start with zeros, or a cell needs more than LiteRT's
            built-in operations.

    Example, with the package `ai-edge-litert`:

    >>> import tempfile
    >>> import numpy as np
    >>> import tfcharlm
    >>> from ai_edge_litert.interpreter import Interpreter
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> path = tfcharlm.export_litert(model, tempfile.mkdtemp() + "/abc.tflite")
    >>> step = Interpreter(str(path)).get_signature_runner("step")
    >>> zeros = np.zeros((1, 5), np.float32)
    >>> results = step(tokens=np.array([[2]], np.int32), state_0=zeros, state_1=zeros)
    >>> results["logits"].shape, results["next_state_1"].shape
    ((1, 1, 4), (1, 5))

    Reference: ai.google.dev/edge/litert/conversion/tensorflow, on built-in operations and signatures.
    """
    target = checked_target(filepath, ".tflite")
    states = named_states(model)
    return publish(target, with_default_settings(lambda: _converted(_in_float32(model), states)), model, states)


def _converted(model: ExportableModel, states: list[dict[str, Any]]) -> bytes:
    specs = [tf.TensorSpec([None, 1], tf.int32, "tokens")]
    specs += [tf.TensorSpec(state["shape"], tf.float32, state["input"]) for state in states]

    @tf.function(input_signature=specs, autograph=False)
    def step(tokens, *old_states):
        logits, next_states = model.step(tokens, old_states)
        return {"logits": logits, **{state["output"]: value for state, value in zip(states, next_states, strict=True)}}

    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory, signatures={"step": step})
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=["step"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # the class of the converter's errors is not public
            missing = re.findall(r"(?:Select|Custom) ops: (.+)", str(error))
            if not missing:
                raise
            cells = ", ".join(type(layer.cell).__name__ for layer in model.recurrent)
            raise ValueError(
                f"LiteRT has no built-in operation for {', '.join(missing)}, which a step of {cells} needs; "
                "model.export(filepath) writes a SavedModel of any cell."
            ) from error


def _in_float32(model):
    """The model, or one with the same weights that computes in float32: LiteRT hardly supports bfloat16."""
    if model.compute_dtype == model.variable_dtype == "float32":
        return model
    twin = type(model).from_config(_with_dtype(model.get_config(), "float32"))
    twin.set_weights([np.asarray(weight).astype(np.float32) for weight in model.get_weights()])
    return twin


def _with_dtype(config, dtype):
    if isinstance(config, (list, tuple)):
        return [_with_dtype(value, dtype) for value in config]
    if not isinstance(config, dict):
        return config
    return {key: dtype if key == "dtype" else _with_dtype(value, dtype) for key, value in config.items()}

"""LiteRT, once TensorFlow Lite: TensorFlow's own converter over `model.step`."""

import re
import tempfile

import numpy as np
import tensorflow as tf

from tfcharlm.artefact.edge_files import checked_target, named_states, publish


def export_litert(model, filepath):
    """Writes one step of a model as a LiteRT file of built-in operations, and beside it `<filepath>.json`.

    The signature `step` takes `tokens` int32 (B, 1) and `state_0`, `state_1`, ... float32 (B, units), in the order of
    `model.initial_state`, and returns `logits` float32 (B, 1, V) and `next_state_0`, ... (B, units). B is 1 until the
    inputs are resized, which a signature runner does by itself. A model of bfloat16 computes in float32 there, with
    the weights that it has.

    The JSON file has what turns a text into ids and back: `format`, `level` and `tokens` of the vocabulary; `pattern`,
    a regular expression whose matches are the tokens of a text (at level "byte" of its UTF-8, a character a byte);
    `start`, the ids that `generate` reads before a prompt (of the newline, if there is one); and `states`, a list of
    `{"input": name, "output": name, "shape": [null, units]}`. States begin as zeros.

    Args:
        model: a `CharLM`, with cells of any kind.
        filepath: the file to make, ending in `.tflite`.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: the file or its JSON file exists already; nothing is overwritten.
        ValueError: another ending, or a cell that does not begin with zeros or that LiteRT's built-in operations do
            not suffice for.

    Example, with the package `ai-edge-litert`:

    >>> model = CharLM(Vocabulary("abc\\n"), [LSTMCell(5)])
    >>> path = export_litert(model, tempfile.mkdtemp() + "/abc.tflite")
    >>> from ai_edge_litert.interpreter import Interpreter
    >>> step = Interpreter(str(path)).get_signature_runner("step")
    >>> zeros = np.zeros((1, 5), np.float32)
    >>> results = step(tokens=np.array([[2]], np.int32), state_0=zeros, state_1=zeros)
    >>> results["logits"].shape, results["next_state_1"].shape
    ((1, 1, 4), (1, 5))

    Reference: ai.google.dev/edge/litert/conversion/tensorflow, on built-in operations and signatures.
    """
    target = checked_target(filepath, ".tflite")
    states = named_states(model)
    return publish(target, _converted(_in_float32(model), states), model, states)


def _converted(model, states):
    specs = [tf.TensorSpec([None, 1], tf.int32, "tokens")]
    specs += [tf.TensorSpec(state["shape"], tf.float32, state["input"]) for state in states]

    @tf.function(input_signature=specs, autograph=False)
    def step(tokens, *states_before):
        logits, states_after = model.step(tokens, states_before)
        return {"logits": logits, **{state["output"]: value for state, value in zip(states, states_after, strict=True)}}

    module = tf.Module()
    module.model_variables = [variable.value for variable in model.variables]
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory, signatures={"step": step})
        converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=["step"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return converter.convert()
        except Exception as error:  # the converter's own class has no public name
            missing = re.findall(r"(?:Select|Custom) ops: (.+)", str(error))
            if not missing:
                raise
            cells = ", ".join(type(layer.cell).__name__ for layer in model.recurrent)
            raise ValueError(
                f"LiteRT has no built-in operation for {', '.join(missing)}, which a step of {cells} needs; "
                "model.export(filepath) writes a SavedModel of any cell."
            ) from error


def _in_float32(model):
    """The model, or one with the same weights that computes in float32: LiteRT has no bfloat16 to speak of."""
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

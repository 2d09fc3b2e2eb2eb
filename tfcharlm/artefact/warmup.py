"""Requests that TensorFlow Serving makes when it loads an export, so that no client waits for a compilation.

The file holds messages of type `PredictionLog`. They are written field by field, because the package with their
classes, tensorflow-serving-api, would be needed for that alone; a test reads them with it.

Reference: tensorflow.org/tfx/serving/saved_model_warmup; prediction_log.proto, predict.proto and model.proto in
tensorflow/serving.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.generation import SAMPLING_SPECS, Sampling

# For up to 8, 32 and more rows, other tiles are compiled.
BATCHES = (1, 9, 33)
# Numbers of fields.
PREDICT_LOG, REQUEST, MODEL_SPEC, INPUTS, KEY, VALUE, NAME, SIGNATURE = 6, 1, 1, 2, 1, 2, 1, 3


def write_warmup_requests(path: Path | str, text: str) -> None:
    """Writes requests for `generate` and `score` with all tiles of rows.

    Args:
        path: the file to make.
        text: a text that the model can read.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in _requests(text):
            writer.write(_prediction_log(signature, inputs))


def _requests(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    specs: tuple = SAMPLING_SPECS
    sampling = {spec.name: np.array(value, spec.dtype.name) for spec, value in zip(specs, Sampling(), strict=True)}
    for rows in BATCHES:
        texts, seeds = np.array([text.encode()] * rows, object), np.arange(rows, dtype=np.int64)
        yield "generate", {"prompts": texts, "max_length": np.int32(1), "seed": seeds} | sampling
        yield "score", {"texts": texts}


def _prediction_log(signature: str, inputs: Mapping[str, Any]) -> bytes:
    # The server knows which model it loads; the name must only not be empty.
    request = _field(MODEL_SPEC, _field(NAME, b"model") + _field(SIGNATURE, signature.encode()))
    for name, value in sorted(inputs.items()):
        tensor = tf.make_tensor_proto(value).SerializeToString(deterministic=True)
        request += _field(INPUTS, _field(KEY, name.encode()) + _field(VALUE, tensor))
    return _field(PREDICT_LOG, _field(REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message: its number and type, its length, its content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    content = b""
    while number > 127:
        content, number = content + bytes([number & 127 | 128]), number >> 7
    return content + bytes([number])

"""Layers that stay what they were when the model was made. Quantization and LoRA are refused, in one line each.

A `CharLM` reads the table of its embedding and the weights of its cells itself, in fused kernels, compiled loops and
exports. They would take quantized integers for the weights.
"""

from typing import Any, NoReturn

import keras


class FixedLayer(keras.layers.Layer):
    """A base of a layer or model that computes in the dtype, and with the weights, that it was made with."""

    def quantize(self, mode: str | None = None, *arguments: Any, **named: Any) -> NoReturn:
        """Not supported; it raises a NotImplementedError, as layers of Keras do that cannot be quantized."""
        raise NotImplementedError(
            "quantize is not supported by CharLM and its layers. Type model.export('model.onnx', format='onnx') and "
            "quantize the file: onnxruntime.quantization.quantize_dynamic('model.onnx', 'int8.onnx')."
        )

    def enable_lora(self, *arguments: Any, **named: Any) -> NoReturn:
        """Not supported; it raises a NotImplementedError."""
        raise NotImplementedError(
            "enable_lora is not supported by the layers of a CharLM. To train only some of them, freeze the others, "
            "for example model.embedding.trainable = False, and call model.compile again."
        )

    @property
    def dtype_policy(self) -> keras.DTypePolicy:
        """The dtype policy, which is given when the model is made."""
        return super().dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        raise ValueError(
            "dtype_policy must be given when the model is made, as CharLM(vocabulary, "
            f"[LSTMCell(256, dtype='mixed_bfloat16')], dtype='mixed_bfloat16'); received {value!r:.80}."
        )

    @property
    def activity_regularizer(self) -> None:
        """None; the setter refuses all else."""
        return None

    @activity_regularizer.setter
    def activity_regularizer(self, value: Any) -> None:
        if value is not None:
            raise ValueError(
                "activity_regularizer must be None for CharLM and its layers, because fused kernels keep no "
                f"activations; received {value!r:.80}. Type LSTMCell(256, kernel_regularizer='l2') or "
                "CharLM(..., dropout=0.2)."
            )

    def add_loss(self, loss: Any) -> NoReturn:
        """Not supported; it raises a NotImplementedError."""
        raise NotImplementedError(
            "add_loss is not supported by CharLM and its layers, whose loss is the cross-entropy and the penalties of "
            "regularizers. Type LSTMCell(256, kernel_regularizer='l2') for a penalty."
        )

    def rematerialized_call(self, layer_call: Any, *arguments: Any, **named: Any) -> NoReturn:
        """Not supported; it raises a NotImplementedError."""
        raise NotImplementedError(
            "keras.RematScope is not supported by CharLM and its layers, whose kernels have gradients of their own. "
            "Make the model outside of the scope, and give shorter sequences to save memory."
        )


class TokenEmbedding(FixedLayer, keras.layers.Embedding):
    """The table of token vectors."""


class OutputLayer(FixedLayer, keras.layers.Dense):
    """The layer from the outputs of the recurrent layers to logits."""

"""What is LiteRT's alone: cells of any kind, as long as its built-in operations are enough."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.edge_formats import OtherCell, draw_inputs, make_model, operations, runtime, walk

import tfcharlm
from tfcharlm.artefact import export_litert


class InvertingCell(tfcharlm.RNNCell):
    def call(self, inputs, states, training=False):
        h, _ = super().call(inputs, states, training)
        return tf.linalg.diag_part(tf.linalg.inv(tf.linalg.diag(h + 2))), [h]


def test_an_operation_that_is_not_built_in_is_seen():
    @tf.function(input_signature=[tf.TensorSpec([3, 3])])
    def function(x):
        return tf.linalg.inv(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    assert operations(converter.convert()) == {"*b'FlexMatrixInverse'"}


def test_litert_takes_cells_that_it_has_never_heard_of(rng, tmp_path):
    model = make_model([OtherCell(5)])
    tokens, states = draw_inputs(model, rng)
    logits, _ = walk(runtime(export_litert(model, tmp_path / "m.tflite")), tokens, states)
    expected, _ = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_a_cell_that_needs_another_operation_is_named(tmp_path):
    message = "LiteRT has no built-in operation for .*MatrixInverse, which a step of InvertingCell"
    with pytest.raises(ValueError, match=message) as caught:
        export_litert(make_model([InvertingCell(3)]), tmp_path / "new" / "model.tflite")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []

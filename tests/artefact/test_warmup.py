"""The requests with which TensorFlow Serving warms up: read by its own classes, and answered by the export."""

import pytest
import tensorflow as tf
from helpers.letters import make_letters_model

from tfcharlm.artefact import directories


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return make_letters_model().export(tmp_path_factory.mktemp("models") / "letters" / "1")


def test_requests_are_those_that_serving_reads(directory):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    signatures = tf.saved_model.load(str(directory)).signatures
    records = list(tf.data.TFRecordDataset(str(directory / directories.WARMUP)).as_numpy_iterator())
    rows = {"generate": [], "score": []}
    for record in records:
        log = apis.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log" and log.SerializeToString(deterministic=True) == record
        request = log.predict_log.request
        name, inputs = request.model_spec.signature_name, dict(request.inputs)
        answer = signatures[name](**{key: tf.constant(tf.make_ndarray(value)) for key, value in inputs.items()})
        rows[name].append(next(iter(answer.values())).shape[0])
        assert request.model_spec.name
    assert rows == {"generate": [1, 9, 33], "score": [1, 9, 33]}

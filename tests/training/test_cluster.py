"""The cluster that TF_CONFIG describes."""

import json

import pytest

from tfcharlm.training import strategy_from_environment, workers_on_this_machine


def test_workers_of_the_environment(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "a:2", "[::1]:3", "a:4"], "evaluator": ["a:9"]}
    for task, index, count in (("chief", 0, 3), ("worker", 0, 1), ("worker", 1, 3), ("worker", 2, 1)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": task, "index": index}}))
        assert workers_on_this_machine() == count
    broken = ["{", '{"cluster": 3}', '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}']
    for text in broken:
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match="TF_CONFIG must be JSON"):
            strategy_from_environment()
    for text in ("{}", ""):
        monkeypatch.setenv("TF_CONFIG", text)
        assert strategy_from_environment().num_replicas_in_sync == 1

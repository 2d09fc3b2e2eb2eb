"""`tfcharlm train` in two workers: real processes, as a launcher starts them."""

import json
import socket
import subprocess
from pathlib import Path

import pytest
from helpers.command_line import BARN, COMMAND
from helpers.processes import environment

NAMES = Path(__file__).parents[2] / "saved_models" / "names" / "1"
pytestmark = pytest.mark.slow


def workers(directory, *arguments):
    """(status, output) of both."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    processes = [
        subprocess.Popen(
            [*COMMAND, "train", *arguments],
            cwd=directory,
            env=environment(TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
        return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]
    finally:
        for process in processes:
            process.kill()


def test_workers_begin_from_a_model_and_end_alike(tmp_path):
    """A run, the same again, which is finished, and one with other settings, which the chief refuses."""
    (tmp_path / "barn.txt").write_text(BARN)
    run = [
        "barn.txt",
        "--from",
        str(NAMES),
        "--steps",
        "3",
        "--batch-size",
        "4",
        "--sequence-length",
        "8",
        "--name",
        "barn",
    ]
    (chief, told), (other, silent) = workers(tmp_path, *run)
    assert (chief, other) == (0, 0), told + silent
    assert "Begins from names/1" in told and "Model: saved_models/barn/1" in told and "Model:" not in silent
    (chief, told), (other, _) = workers(tmp_path, *run, "--resume")
    assert (chief, other) == (0, 0) and "The run is finished. Model: saved_models/barn/1" in told
    (chief, told), (other, silent) = workers(tmp_path, *run, "--seed", "5", "--resume")
    assert (chief, other) == (2, 2) and "seed" in told and "tfcharlm:" not in silent

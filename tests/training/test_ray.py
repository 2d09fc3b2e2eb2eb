"""examples/ray: two workers that Ray starts, and starts again when one is lost."""

import hashlib
import sys
from pathlib import Path

import pytest
from helpers.command_line import BARN
from helpers.processes import run

import tfcharlm

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray" / "train.py"
OPTIONS = ["--workers", "2", "--units", "8", "--batch-size", "5", "--epochs", "3", "--steps", "150"]


def weights(directory):
    return hashlib.sha256((directory / "1" / "variables" / "variables.data-00000-of-00001").read_bytes()).hexdigest()


@pytest.mark.slow
def test_two_workers_of_ray_of_which_one_is_killed(tmp_path):
    """They end with the weights of two workers that nobody killed, bit for bit."""
    pytest.importorskip("ray.train", reason="needs Ray (tfcharlm[ray])")
    (tmp_path / "barn.txt").write_text(BARN)
    options = [tmp_path / "barn.txt", tmp_path / "whole", *OPTIONS]
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}
    printed = run(sys.executable, EXAMPLE, *options, variables=variables, timeout=300)
    assert f"Model: {tmp_path}/whole/1" in printed
    options[1] = tmp_path / "cut"
    helper = ["-m", "helpers.ray_runs", EXAMPLE, tmp_path / "killed"]
    often = ["--checkpoint-seconds", "0.3"]
    printed = run(sys.executable, *helper, *options, *often, variables=variables, timeout=300)
    assert (tmp_path / "killed").exists() and weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert "the run resumes after step" in printed and tfcharlm.load_model(tmp_path / "cut" / "1").built

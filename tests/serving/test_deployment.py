"""The container file, the systemd unit, and the commands of docs/serving.md, parsed by what they are written for."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tfcharlm.cli import serve
from tfcharlm.serving import check_address, server

ROOT = Path(__file__).parents[2]
DOCKERFILE, UNIT = ROOT / "examples/serving/Dockerfile", ROOT / "examples/serving/tfcharlm.service"
PAGE = (ROOT / "docs/serving.md").read_text()
NAMES = ROOT / "saved_models/names/1"


def instructions(text):
    """Instructions of a Dockerfile and their arguments; of several, the last one counts."""
    lines = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", "").splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line)


def settings(text):
    """Settings of a unit; of several, the last one counts."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def served(command):
    """The options that `tfcharlm serve` reads from the words of a command."""
    program, name, *arguments = command
    assert Path(program).name == "tfcharlm" and name == "serve"
    return serve.serve.make_context("serve", arguments).params


def test_the_container_starts_the_server():
    found = instructions(DOCKERFILE.read_text())
    options = served(json.loads(found["ENTRYPOINT"]) + json.loads(found["CMD"]))
    assert [path.parent for path in options["models"]] == [Path("/models")] and found["EXPOSE"] == str(options["port"])
    # The key of the environment is needed there.
    assert options["host"] == "0.0.0.0"
    with pytest.raises(ValueError, match="TFCHARLM_API_KEY"):
        check_address(options["host"], None)
    assert found["STOPSIGNAL"] == "SIGTERM" and int(found["USER"]) > 0
    check = json.loads(found["HEALTHCHECK"].split("CMD", 1)[1])
    assert f"http://127.0.0.1:{options['port']}/healthz" in check[-1]
    compile(check[-1], "HEALTHCHECK", "exec")


def test_the_unit_starts_the_server():
    found = settings(UNIT.read_text())
    options = served(shlex.split(found["ExecStart"]))
    check_address(options["host"], None)
    assert int(found["TimeoutStopSec"]) > server.GRACE + 10 and found["Restart"] == "on-failure"
    assert (
        found["DynamicUser"] == "yes" and found["ProtectSystem"] == "strict" and "MemoryDenyWriteExecute" not in found
    )


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze, which checks the unit; its command is tested everywhere")
    unit = tmp_path / UNIT.name
    # It also looks whether the program is there.
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text()))
    result = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert result.returncode == 0 and unit.name not in result.stderr, result.stderr


def test_commands_of_the_page_are_those_of_the_server():
    commands = re.findall(r"(?m)^tfcharlm serve (?:.*\\\n)*.*$", PAGE)
    commands += re.findall(r"`docker run \.\.\. (tfcharlm /models/.*?)`", PAGE)
    assert len(commands) >= 2
    for command in commands:
        served(shlex.split(command.replace("tfcharlm /models", "tfcharlm serve /models").replace("\\\n", " ")))
    stop = {int(seconds) for seconds in re.findall(r"--stop-timeout (\d+)", PAGE)}
    assert min(stop) > server.GRACE + 10


def test_requests_of_the_page_are_those_of_the_signatures():
    """TensorFlow Serving makes tensors of the types of the signature of what JSON has."""
    bodies = [json.loads(body) for body in re.findall(r"(?s):predict -d '(.*?)'", PAGE)]
    assert [body["signature_name"] for body in bodies] == ["generate", "score"]
    signatures = tf.saved_model.load(str(NAMES)).signatures
    outputs = []
    for body in bodies:
        signature = signatures[body["signature_name"]]
        specs = signature.structured_input_signature[1]
        assert set(specs) == set(body["inputs"])
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in body["inputs"].items()}
        for name, tensor in tensors.items():
            assert specs[name].is_compatible_with(tensor), name
            is_whole = specs[name].dtype.is_integer
            assert not is_whole or "." not in json.dumps(body["inputs"][name])
        outputs.append(signature(**tensors))
    written, scores = outputs
    prompts = bodies[0]["inputs"]["prompts"]
    for prompt, text in zip(prompts, written["text"].numpy(), strict=True):
        assert text.decode().startswith(prompt) and len(text.decode()) == len(prompt) + 20
    assert list(written) == ["text"] and set(scores) == {"log_probability", "tokens", "bits_per_character"}
    likely, unlikely = scores["log_probability"].numpy()
    assert likely > unlikely


def test_signatures_of_the_page_are_those_of_an_export():
    signatures = tf.saved_model.load(str(NAMES)).signatures
    table = re.search(r"(?s)## TensorFlow Serving.*?\| `generate`.*?\n\n", PAGE)[0]
    for line in re.findall(r"(?m)^\| `.*", table):
        name, inputs, results = re.match(r"\| `(\w+)`.*? \| (.*) \| (.*) \|", line).groups()
        for cell, specs in (
            (inputs, signatures[name].structured_input_signature[1]),
            (results, signatures[name].structured_outputs),
        ):
            named = set(re.findall(r"`(\w+)`", cell))
            assert named <= set(specs) and set(specs) - named <= {"state_1"}
            for one, kind in re.findall(r"`(\w+)` (\w+)", cell):
                assert specs[one].dtype.name == kind, one


def test_metrics_of_the_page_are_those_of_the_server(client):
    named = {name.removesuffix("_bucket") for name in re.findall(r"\btfcharlm_[a-z]\w+", PAGE)}
    known = set(re.findall(r"(?m)^# HELP (\w+)", client.get("/metrics").text))
    assert len(named) == 6 and named <= known, named - known

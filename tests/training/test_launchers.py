"""The scripts in examples/slurm and examples/kubernetes, with stubs for Slurm's programs and for `tfcharlm`."""

import json
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tfcharlm.training import workers_on_this_machine
from tfcharlm.tuning import role_from_environment

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAIN, TUNE = EXAMPLES / "slurm" / "train.sbatch", EXAMPLES / "slurm" / "tune.sbatch"
KUBERNETES = EXAMPLES / "kubernetes" / "train.yaml"
HOSTS = ["red7", "red8", "blue1"]
# A text with what a shell would split or expand.
ARGUMENTS = ["two words.txt", "--steps", "9", "--name", "$HOME*"]
STUBS = {
    "scontrol": """
if [ "$1" = show ]; then printf 'red7\\nred8\\nblue1\\n'; else echo "$@" >> scontrol.log; fi""",
    "scancel": 'echo "$@" >> scancel.log',
    # All tasks, one after another. The status is the highest one, as srun's.
    "srun": """
while [ "${1#--}" != "$1" ]; do shift; done
status=0
for SLURM_PROCID in $(seq 0 $((SLURM_NTASKS - 1))); do
    export SLURM_PROCID
    "$@" || { this=$?; [ $this -gt $status ] && status=$this; }
done
exit $status""",
    # Writes its environment and its arguments; then it ends with a status, or takes long.
    "tfcharlm": """
env -0 > environment.$SLURM_PROCID
printf '%s\\0' "$@" > arguments.$SLURM_PROCID
stat -c %a *.chief > mode 2> /dev/null
[ -n "$STUB_SECONDS" ] && { touch started; exec sleep "$STUB_SECONDS"; }
exit ${STUB_STATUS:-0}""",
}

needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="Slurm's scripts need bash")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A directory with the stubs on PATH, and the variables of a job with three tasks."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, source in STUBS.items():
        (programs / name).write_text(f"#!/bin/sh\n{source}\n")
        (programs / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    for name in ("TFCHARLM_SEARCH_SECRET", "KERASTUNER_ORACLE_IP", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    variables = {
        "SLURM_JOB_ID": "60123", "SLURM_JOB_NAME": "job", "SLURM_JOB_NUM_NODES": "3", "SLURM_NTASKS": "3",
        "SLURM_JOB_NODELIST": "red[7-8],blue1",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def array(slurm, monkeypatch):
    """The variables of the task 0 of a job array."""
    variables = {
        "SLURM_NTASKS": "1", "SLURM_ARRAY_JOB_ID": "60100", "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0",
        "SLURM_ARRAY_TASK_MAX": "2", "SLURMD_NODENAME": "red7",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return slurm


def run(script, *arguments):
    return subprocess.run(["bash", script, *arguments], capture_output=True, text=True, timeout=60)


def requeued(directory, log="scontrol.log"):
    return (directory / log).read_text().splitlines() if (directory / log).exists() else []


def environment_of(directory, task):
    return dict(line.split("=", 1) for line in (directory / f"environment.{task}").read_text().split("\0") if line)


@needs_bash
@pytest.mark.parametrize("script", [TRAIN, TUNE], ids=lambda path: path.name)
def test_the_syntax_of_a_script(script):
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    # Slurm stops to read options at the first command.
    options = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert lines[0] == "#!/bin/bash" and all(line.startswith("#") for line in lines[: options[-1]])


@needs_bash
def test_every_task_of_a_job_has_its_own_address(slurm, monkeypatch):
    result = run(TRAIN, *ARGUMENTS)
    assert (result.returncode, result.stderr, requeued(slurm)) == (0, "", [])
    for task in range(3):
        config = environment_of(slurm, task)["TF_CONFIG"]
        assert json.loads(config) == {
            "cluster": {"worker": ["red7:10123", "red8:10124", "blue1:10125"]},
            "task": {"type": "worker", "index": task},
        }
        monkeypatch.setenv("TF_CONFIG", config)
        assert workers_on_this_machine() == 1
        assert (slurm / f"arguments.{task}").read_text().split("\0")[:-1] == ["train", *ARGUMENTS, "--resume"]


@needs_bash
@pytest.mark.parametrize("script", [TRAIN, TUNE], ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("status", "restarts", "again"), [(0, 0, False), (2, 0, False), (1, 0, True), (137, 19, True), (137, 20, False)]
)
def test_a_job_is_queued_again_if_that_can_help(script, status, restarts, again, array, monkeypatch):
    monkeypatch.setenv("STUB_STATUS", str(status))
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    result = run(script, "text.txt")
    assert result.returncode == status
    assert requeued(array) == (["requeue 60123"] if again else [])
    assert (f"status {status}, queued again" in result.stdout) == again


@needs_bash
@pytest.mark.parametrize("script", [TRAIN, TUNE], ids=lambda path: path.name)
@pytest.mark.parametrize(("number", "again"), [("SIGUSR1", True), ("SIGTERM", False)], ids=["time", "scancel"])
def test_a_job_whose_time_is_over_is_queued_again_and_a_cancelled_one_is_not(script, number, again, array, monkeypatch):
    monkeypatch.setenv("STUB_SECONDS", "30")
    with subprocess.Popen(["bash", script, "text.txt"], stdout=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 30
        while not (array / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            process.send_signal(getattr(signal, number))
            process.wait(timeout=20)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert requeued(array) == (["requeue 60123"] if again else [])


@needs_bash
def test_chief_and_workers_of_a_search_have_one_address_and_one_secret(array, monkeypatch):
    monkeypatch.setenv("STUB_STATUS", "1")  # the chief comes again, so its file stays
    run(TUNE, *ARGUMENTS)
    chief = environment_of(array, 0)
    file = array / "job-60100.chief"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and (array / "mode").read_text() == "600\n"
    monkeypatch.setenv("STUB_STATUS", "0")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("SLURMD_NODENAME", "blue1")
    result = run(TUNE, *ARGUMENTS)
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "worker2: restart 0\n") and file.exists()
    worker = environment_of(array, 0)
    assert (array / "arguments.0").read_text().split("\0")[:-1] == ["tune", *ARGUMENTS, "--resume"]
    for one, role in ((chief, "chief"), (worker, "worker2")):
        for name in ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"):
            monkeypatch.setenv(name, one[name])
        assert role_from_environment() == role
        assert (one["KERASTUNER_ORACLE_IP"], one["KERASTUNER_ORACLE_PORT"]) == ("red7", "10100")
    secret = chief["TFCHARLM_SEARCH_SECRET"]
    assert worker["TFCHARLM_SEARCH_SECRET"] == secret and len(secret) == 64 and int(secret, 16)
    assert not requeued(array, "scancel.log")


@needs_bash
def test_a_chief_that_comes_again_keeps_the_secret(array, monkeypatch):
    """On another node, its workers are queued again, too. In the end, the secret and waiting workers go."""
    monkeypatch.setenv("STUB_STATUS", "137")
    run(TUNE, "text.txt")
    secret = environment_of(array, 0)["TFCHARLM_SEARCH_SECRET"]
    run(TUNE, "text.txt")
    assert requeued(array) == ["requeue 60123"] * 2
    monkeypatch.setenv("SLURMD_NODENAME", "blue1")
    monkeypatch.setenv("STUB_STATUS", "0")
    run(TUNE, "text.txt")
    again = environment_of(array, 0)
    assert (again["TFCHARLM_SEARCH_SECRET"], again["KERASTUNER_ORACLE_IP"]) == (secret, "blue1")
    assert requeued(array)[2:] == ["requeue 60100_[1-2]"]
    assert requeued(array, "scancel.log") == ["--state=PENDING 60100"]
    [file] = array.glob("*.chief*")
    assert secret not in file.read_text()
    # A worker that comes now, or has waited for the chief, has nothing to do.
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    result = run(TUNE, "text.txt")
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "worker2: the search is over\n")


@needs_bash
def test_a_worker_does_not_wait_forever_for_a_chief(array, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("TFCHARLM_PEER_SECONDS", "1")
    result = run(TUNE, "text.txt")
    assert (result.returncode, result.stdout) == (1, "") and not list(array.glob("environment*"))
    assert result.stderr == "worker2: no chief came in 1 s. Set TFCHARLM_PEER_SECONDS to wait longer.\n"
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    result = run(TUNE, "text.txt")
    assert (result.returncode, result.stderr) == (2, "The array must begin with 0, the chief: --array=0-2\n")


@needs_bash
def test_the_secret_of_the_user_is_kept(array, monkeypatch):
    monkeypatch.setenv("TFCHARLM_SEARCH_SECRET", "one of 'mine' $HOME")
    monkeypatch.setenv("STUB_STATUS", "1")
    run(TUNE, "text.txt")
    monkeypatch.delenv("TFCHARLM_SEARCH_SECRET")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    run(TUNE, "text.txt")
    environment = environment_of(array, 0)
    assert environment["KERASTUNER_TUNER_ID"] == "worker1"
    assert environment["TFCHARLM_SEARCH_SECRET"] == "one of 'mine' $HOME"


@pytest.fixture
def resources():
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the example (tfcharlm[dev])")
    return {resource["kind"]: resource for resource in yaml.safe_load_all(KUBERNETES.read_text())}


def test_the_resources_of_kubernetes_are_valid(resources):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate checks them (tfcharlm[dev])")
    assert set(resources) == {"Service", "NetworkPolicy", "PersistentVolumeClaim", "Job"}
    for resource in resources.values():
        validator.validate(resource, validator.latest_version(), strict=True)
    job = resources["Job"]["spec"]
    del job["template"]["spec"]["containers"][0]["image"]
    job["template"]["spec"]["containers"][0]["imagee"] = "tfcharlm"
    with pytest.raises(validator.ValidationError):
        validator.validate(resources["Job"], validator.latest_version(), strict=True)


def test_the_resources_of_kubernetes_refer_to_each_other(resources):
    job, service = resources["Job"], resources["Service"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # A Job gives its pods the label job-name; the name of a pod is that of the Job and an index.
    selector = {"job-name": job["metadata"]["name"]}
    policy = resources["NetworkPolicy"]["spec"]
    assert service["spec"]["selector"] == selector and service["spec"]["clusterIP"] == "None"
    assert policy["podSelector"]["matchLabels"] == selector
    assert policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"] == selector
    assert pod["subdomain"] == service["metadata"]["name"] and job["spec"]["completionMode"] == "Indexed"
    workers = {variable["name"]: variable["value"] for variable in container["env"]}["WORKERS"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(workers)
    assert container["name"] == job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["containerName"]
    assert (
        pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
        == resources["PersistentVolumeClaim"]["metadata"]["name"]
    )


@pytest.mark.parametrize("index", [0, 7])
def test_every_pod_has_its_own_address(index, resources, slurm, monkeypatch):
    (container,) = resources["Job"]["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    variables |= {"JOB_COMPLETION_INDEX": str(index), "SLURM_PROCID": str(index)}
    subprocess.run([*container["command"], *container["args"]], env=os.environ | variables, check=True)
    config = environment_of(slurm, index)["TF_CONFIG"]
    name, service = resources["Job"]["metadata"]["name"], resources["Service"]
    addresses = [f"{name}-{i}.{service['metadata']['name']}:{service['spec']['ports'][0]['port']}" for i in range(8)]
    assert json.loads(config) == {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    monkeypatch.setenv("TF_CONFIG", config)
    assert workers_on_this_machine() == 1
    volume = container["volumeMounts"][0]["mountPath"]
    arguments = (slurm / f"arguments.{index}").read_text().split("\0")
    assert arguments[0] == "train" and "--resume" in arguments and arguments[arguments.index("--output") + 1] == volume

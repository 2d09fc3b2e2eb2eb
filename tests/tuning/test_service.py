"""The chief's door: who knows the secret may report, and nobody else; how a worker waits for the chief."""

import os
import signal
import socket
import stat
import threading
from pathlib import Path

import grpc
import pytest
from helpers.oracles import Clock, assert_complete, begin, loss, play, values_of
from helpers.processes import run_python

from tfcharlm.tuning.fault_tolerance import Server, connect, connection, forget_secret, make_secret
from tfcharlm.tuning.fault_tolerance.leases import process_of
from tfcharlm.tuning.fault_tolerance.secret import read_secret
from tfcharlm.tuning.fault_tolerance.service import KEY, SERVICE

LOCALHOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(connection, "SECONDS_BETWEEN_REQUESTS", 0.02)
    monkeypatch.setattr(connection, "SECONDS_BETWEEN_HEARTBEATS", 0.02)


@pytest.fixture
def serve(tmp_path):
    """Serves an oracle at a free port of the loopback device, with the secret of its directory."""
    servers = []

    def start(oracle):
        server = Server(oracle, LOCALHOST, 0, make_secret(oracle.directory, pytest.fail))
        servers.append(server)
        server.start()
        return server.port

    yield start
    for server in servers:
        server.stop()


def join(oracle, port, worker="worker0", directory=None):
    return connect(LOCALHOST, port, directory or oracle.directory, process_of(worker), oracle.objective)


def work(worker, metrics=loss):
    """Runs trials as Keras Tuner's tuner does until there is none."""
    while (trial := worker.create_trial("")).status != "STOPPED":
        if trial.status == "RUNNING":
            worker.update_trial(trial.trial_id, {"val_loss": metrics(trial)}, step=2)
            trial.status = "COMPLETED"
            worker.end_trial(trial)


def test_a_search_over_the_wire_is_the_search(tmp_path, serve):
    oracle = begin(tmp_path / "search")
    port = serve(oracle)
    threads = [threading.Thread(target=work, args=[join(oracle, port, f"worker{i}")]) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_complete(oracle, 7)
    assert all(trial.best_step == 2 for trial in oracle.trials.values())
    assert values_of(oracle) == values_of(play(begin(tmp_path / "direct")))


def call(port, path, request=b"{}", metadata=None):
    with grpc.insecure_channel(f"{LOCALHOST}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        return channel.unary_unary(path)(request, metadata=metadata, timeout=20)


@pytest.mark.parametrize("sent", [None, "", "0" * 64, "right, but for its end", "bytes", "in another header"])
@pytest.mark.parametrize("path", ["create_trial", "end_trial", "get_space", "/keras_tuner.Oracle/CreateTrial", "/x/y"])
def test_nobody_speaks_without_the_secret(path, sent, tmp_path, serve):
    oracle = begin(tmp_path / "search")
    port = serve(oracle)
    secret = read_secret(oracle.directory)
    metadata = {
        None: None,
        "right, but for its end": ((KEY, secret[:-1]),),
        "bytes": ((f"{KEY}-bin", secret.encode()),),
        "in another header": (("authorization", secret),),
    }.get(sent, ((KEY, sent),))
    full = path if path.startswith("/") else f"/{SERVICE}/{path}"
    with pytest.raises(grpc.RpcError) as error:
        call(port, full, b'{"worker": "worker0"}', metadata)
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert oracle.trials == {} and not oracle.tuner_ids
    if not path.startswith("/"):  # with it, the request is heard
        answer = call(port, f"/{SERVICE}/create_trial", b'{"worker": "worker0"}', ((KEY, secret),))
        assert b"RUNNING" in answer and list(oracle.ongoing_trials) == ["worker0"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc of Linux to see who listens")
def test_it_listens_on_the_loopback_only(tmp_path, serve):
    port = serve(begin(tmp_path / "search"))
    listening = set()
    for name in ("tcp", "tcp6"):
        with Path("/proc/net", name).open() as table:
            for line in table.readlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == "0A" and int(local.split(":")[1], 16) == port:
                    listening.add(local.split(":")[0])
    # 127.0.0.1, which gRPC binds as an IPv6 address.
    assert listening <= {"0100007F", "0000000000000000FFFF00000100007F"} and listening


def test_the_secret_is_a_file_for_this_user(tmp_path, monkeypatch):
    monkeypatch.delenv("TFCHARLM_SEARCH_SECRET", raising=False)
    old = os.umask(0)
    try:
        secret = make_secret(tmp_path, pytest.fail)
    finally:
        os.umask(old)
    path = tmp_path / "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == secret and len(secret) == 64
    assert make_secret(tmp_path, pytest.fail) == secret == read_secret(tmp_path), "the next chief's workers may live"
    known = {secret}
    for spoil in (
        lambda: path.chmod(0o640),
        lambda: path.write_text("short"),
        lambda: path.write_bytes(b"\xff" * 64),
        lambda: path.write_text("a" * 10**6),
        lambda: (path.rename(tmp_path / "elsewhere"), path.symlink_to("elsewhere")),
        lambda: (path.unlink(), os.mkfifo(path)),
    ):
        spoil()
        secret = make_secret(tmp_path, pytest.fail)
        assert secret not in known and stat.S_IMODE(path.lstat().st_mode) == 0o600 and not path.is_symlink()
        known.add(secret)
    forget_secret(tmp_path)
    assert not path.exists() and read_secret(tmp_path) is None


def test_the_secret_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFCHARLM_SEARCH_SECRET", "correct-horse-battery")
    assert make_secret(tmp_path, pytest.fail) == read_secret(tmp_path) == "correct-horse-battery"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given", ["", "short", "correct horse battery", "correct-horse-batterä", "a\n" * 20, "x" * 5000]
)
def test_a_secret_that_cannot_be_one_is_not_shown(given, tmp_path, monkeypatch):
    monkeypatch.setenv("TFCHARLM_SEARCH_SECRET", given)
    for function in (lambda: make_secret(tmp_path, pytest.fail), lambda: read_secret(tmp_path)):
        with pytest.raises(ValueError, match="TFCHARLM_SEARCH_SECRET must be at least 16 letters") as error:
            function()
        assert "\n" not in str(error.value) and len(str(error.value)) <= 300
        assert not given or given not in str(error.value)


@pytest.mark.parametrize(("content", "reason"), [(None, "has none"), ("0" * 64, "has another one")])
def test_a_worker_without_the_secret_ends_in_one_line(content, reason, tmp_path, serve):
    oracle = begin(tmp_path / "search")
    port = serve(oracle)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if content:
        (elsewhere / "secret").write_text(content)
    with pytest.raises(ConnectionError, match=f"and this worker {reason}; set TFCHARLM_SEARCH_SECRET") as error:
        join(oracle, port, directory=elsewhere)
    assert len(str(error.value)) <= 300 and "\n" not in str(error.value)


def test_a_worker_may_come_before_its_chief(tmp_path, serve):
    oracle, joined = begin(tmp_path / "search"), []
    with socket.create_server((LOCALHOST, 0)) as free:
        port = free.getsockname()[1]
    thread = threading.Thread(target=lambda: joined.append(join(oracle, port)))
    thread.start()
    thread.join(timeout=0.3)
    assert joined == []
    server = Server(oracle, LOCALHOST, port, make_secret(oracle.directory, pytest.fail))
    server.start()
    thread.join(timeout=20)
    server.stop()
    assert len(joined) == 1


def test_a_worker_whose_chief_does_not_come_says_so_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("tfcharlm.training.peers.SECONDS_BEFORE_NOTICE", 0.3)
    monkeypatch.setenv("TFCHARLM_PEER_SECONDS", "0.6")
    with socket.create_server((LOCALHOST, 0)) as free:
        port = free.getsockname()[1]
    notices = []
    with pytest.raises(
        TimeoutError, match=f"worker0 waits for the chief of the search at {LOCALHOST}:{port} .*gave up"
    ):
        connect(LOCALHOST, port, tmp_path, process_of("worker0"), None, notices.append)
    assert len(notices) == 1 and "worker0 waits for the chief" in notices[0]


def test_a_worker_whose_chief_went_says_so_and_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("TFCHARLM_PEER_SECONDS", "0.6")
    oracle = begin(tmp_path / "search")
    server = Server(oracle, LOCALHOST, 0, make_secret(oracle.directory, pytest.fail))
    server.start()
    worker = join(oracle, server.port)
    worker.create_trial("")
    server.stop()
    with pytest.raises(TimeoutError, match="worker0 waits for the chief of the search, which is away; gave up after"):
        worker.create_trial("")


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["SIGTERM", "SIGINT"]
)
def test_a_worker_that_waits_can_be_interrupted(number, kind, tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    try:
        with socket.create_server((LOCALHOST, 0)) as silent, pytest.raises(kind):
            connect(LOCALHOST, silent.getsockname()[1], tmp_path, process_of("worker0"), None)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def test_two_processes_of_one_worker(tmp_path, serve):
    oracle = begin(tmp_path / "search")
    port = serve(oracle)
    first, second = join(oracle, port), join(oracle, port)
    first.create_trial("")
    second.create_trial("")
    with pytest.raises(
        ConnectionError, match=r"another process is worker0, too; give each worker a KERASTUNER_TUNER_ID"
    ):
        first.create_trial("")
    work(second)
    assert_complete(oracle, 7)


def test_heartbeats_have_the_steps_of_the_training_and_nothing_else(tmp_path, serve):
    """While the training hangs, they continue and the steps do not: the lease ends. A later result is ignored."""
    clock = Clock()
    oracle = begin(tmp_path / "search", clock=clock, stall_seconds=60)
    zombie, other = (join(oracle, serve(oracle), name) for name in ("worker0", "worker1"))
    trial = zombie.create_trial("")
    heard = threading.Semaphore(0)
    get_trial = oracle.get_trial

    def listen(trial_id, steps=None):
        try:
            return get_trial(trial_id, steps)
        finally:
            heard.release()

    oracle.get_trial = listen

    def after_a_heartbeat():
        for _ in range(2):  # the first one may have been on its way
            assert heard.acquire(timeout=20)
            while heard.acquire(blocking=False):
                pass

    with zombie.alive(trial.trial_id) as lease:
        for _ in range(40):
            lease.on_train_batch_end(0)
            after_a_heartbeat()
            clock.now += 5
            oracle.expire()
        assert list(oracle.ongoing_trials) == [zombie.worker], "200 s with steps"
        for _ in range(11):
            after_a_heartbeat()
            clock.now += 5
            oracle.expire()
        assert list(oracle.ongoing_trials) == [zombie.worker], "60 s without one"
        clock.now += 5
        oracle.expire()
        assert oracle.ongoing_trials == {}
        assert lease.lost.wait(timeout=20)
        lease.set_model(type("Model", (), {"stop_training": False})())
        lease.on_train_batch_end(0)
        assert lease.model.stop_training
    again = other.create_trial("")
    assert again.trial_id == trial.trial_id
    for status in ("COMPLETED", "INVALID"):
        zombie.update_trial(trial.trial_id, {"val_loss": 0.01})
        trial.status = status
        zombie.end_trial(trial)
    assert oracle.end_order == [] and list(oracle.ongoing_trials) == [other.worker]
    other.update_trial(again.trial_id, {"val_loss": 0.7})
    again.status = "COMPLETED"
    other.end_trial(again)
    assert oracle.trials[trial.trial_id].score == pytest.approx(0.7)


WRONG = {
    "taken": (lambda port: (LOCALHOST, port), "is taken: another process uses it. Give a free port"),
    "not here": (lambda port: ("192.0.2.1", 8000), "192.0.2.1:8000, is not on this machine"),
    "unknown": (
        lambda port: ("no-such-host.invalid", 8000),
        "KERASTUNER_ORACLE_IP .*no-such-host.invalid cannot be resolved",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_chief_that_cannot_listen_ends_in_one_line(case, tmp_path, capfd):
    """Also if whoever has the port would share it, as gRPC does, and without what gRPC logs."""
    address, line = WRONG[case]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind((LOCALHOST, 0))
        taken.listen()
        with pytest.raises(OSError, match=line) as error:
            Server(None, *address(taken.getsockname()[1]), "secret")
    assert len(str(error.value)) <= 300 and capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_proxy_of_the_environment_is_not_asked():
    program = f"""
import tempfile
from helpers.oracles import begin
from pathlib import Path
from tfcharlm.tuning.fault_tolerance import Server, connect
oracle = begin(Path(tempfile.mkdtemp(), "search"))
server = Server(oracle, {LOCALHOST!r}, 0, "s" * 64)
server.start()
Path(oracle.directory, "secret").write_text("0" * 64)
import os
os.environ["TFCHARLM_SEARCH_SECRET"] = "s" * 64
print(connect({LOCALHOST!r}, server.port, oracle.directory, "worker0", oracle.objective).create_trial("").status)
server.stop()
"""
    variables = {"http_proxy": "http://127.0.0.1:9", "TFCHARLM_PEER_SECONDS": "20"}
    assert run_python(program, variables=variables) == "RUNNING\n"

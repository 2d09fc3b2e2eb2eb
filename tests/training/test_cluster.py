"""The cluster that TF_CONFIG describes: it is checked, and its workers meet before TensorFlow starts."""

import json
import os
import signal
import socket
import threading
import time

import pytest

from tfcharlm.training import strategy_from_environment, workers_on_this_machine
from tfcharlm.training.meeting import listening, meet, with_default_signals

TWO = {"worker": ["a:1", "b:1"]}


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_workers_of_the_environment(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "a:2", "[::1]:3", "a:4"], "evaluator": ["a:9"]}
    for task, index, count in (("chief", 0, 3), ("worker", 0, 1), ("worker", "1", 3), ("worker", 2, 1)):
        monkeypatch.setenv("TF_CONFIG", config(cluster, task, index))
        assert workers_on_this_machine() == count
    for text in ("{}", "", " ", '{"cluster": {}}', config({"worker": ["a:1"]})):
        monkeypatch.setenv("TF_CONFIG", text)
        assert strategy_from_environment().num_replicas_in_sync == 1


WRONG = {
    "no JSON": ("{", "received another value: Expecting property name"),
    "deep": ("[" * 100_000, "too many brackets"),
    "a list": ("[1]", "TF_CONFIG must be an object"),
    "null": ("null", "TF_CONFIG must be an object"),
    "no cluster": ('{"cluster": 3}', "cluster must be an object; received 3"),
    "no list": (config({"worker": "a:1"}), "worker must be a list of addresses; received 'a:1'"),
    "no texts": (config({"worker": [1, 2]}), "worker must be a list of addresses"),
    "no port": (config({"worker": ["a:1", "b"]}), "must be host:port .*; received 'b'"),
    "port 0": (config({"worker": ["a:1", "b:0"]}), "received 'b:0'"),
    "port 65536": (config({"worker": ["a:1", "b:65536"]}), "received 'b:65536'"),
    "a name for a port": (config({"worker": ["a:1", "b:http"]}), "received 'b:http'"),
    "a URL": (config({"worker": ["a:1", "http://b:1"]}), "received 'http://b:1'"),
    "no host": (config({"worker": ["a:1", ":1"]}), "received ':1'"),
    "a blank": (config({"worker": ["a:1", "b c:1"]}), "received 'b c:1'"),
    "no IPv6": (config({"worker": ["a:1", "[b:1]:2"]}), r"received '\[b:1\]:2'"),
    "bare IPv6": (config({"worker": ["a:1", "::1:2222"]}), "received '::1:2222'"),
    "twice": (config({"worker": ["a:1", "b:1", "a:1"]}), "the address a:1 is given twice"),
    "twice, in two jobs": (config({"chief": ["a:1"], "worker": ["a:1", "b:1"]}), "the address a:1 is given twice"),
    "two chiefs": (config({"chief": ["a:1", "b:1"]}, "chief"), "there are 2 chiefs"),
    "index too large": (config(TWO, index=2), "task index must be from 0 to 1; received 2"),
    "index negative": (config(TWO, index=-1), "received -1"),
    "index a fraction": (config(TWO, index=0.5), "received 0.5"),
    "index a boolean": (config(TWO, index=True), "received True"),
    "index of letters": (config(TWO, index="one"), "received 'one'"),
    "no such task": (config(TWO, "wroker"), "task type must be worker; received 'wroker'"),
    "evaluator": (config(TWO | {"evaluator": ["c:1"]}, "evaluator"), "task type must be worker; received 'evaluator'"),
    "no task": (json.dumps({"cluster": TWO}), "task type must be worker; received None"),
    "task a list": (json.dumps({"cluster": TWO, "task": ["worker", 0]}), "task must be an object"),
    "long": (config({"worker": ["a:1", "b" * 10_000]}), "received 'bbb"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_environment_is_one_line(case, monkeypatch):
    text, reason = WRONG[case]
    monkeypatch.setenv("TF_CONFIG", text)
    for function in (strategy_from_environment, workers_on_this_machine):
        with pytest.raises(ValueError, match=f"TF_CONFIG must be JSON such as .*{reason}") as error:
            function()
        assert "\n" not in str(error.value) and len(str(error.value)) <= 300


def test_a_port_that_is_taken_is_named(monkeypatch):
    """Also if whoever has it would share it, as gRPC does."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", config({"worker": [address, "127.0.0.1:1"]}))
        with pytest.raises(OSError, match=f"{address}, is taken: another process uses it"):
            strategy_from_environment()


def test_workers_meet_in_any_order():
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    met = []

    def come(own):
        meet(addresses, own)
        met.append(own)

    threads = [threading.Thread(target=come, args=[own]) for own in range(3)]
    for thread in threads[:2]:
        thread.start()
    threads[0].join(timeout=1)
    assert met == [], "the third one is missing"
    # Workers that have met listen no more; TensorFlow then listens in their place.
    servers = []
    threads[2].start()
    deadline = time.monotonic() + 20
    while len(servers) < 3 and time.monotonic() < deadline:
        for own in met[len(servers) :]:
            servers.append(socket.create_server(("127.0.0.1", int(addresses[own].rpartition(":")[2]))))
        time.sleep(0.01)
    for thread in threads:
        thread.join(timeout=20)
    for server in servers:
        server.close()
    assert sorted(met) == [0, 1, 2]


def test_waiting_has_a_notice_and_an_end(monkeypatch):
    """As many seconds as the environment says; the notice comes before."""
    monkeypatch.setattr("tfcharlm.training.peers.SECONDS_BEFORE_NOTICE", 0.3)
    monkeypatch.setenv("TFCHARLM_PEER_SECONDS", "1")
    own, other = free_ports(2)
    notices = []
    with pytest.raises(TimeoutError, match=f"127.0.0.1:{other} .*refused.*; gave up after 1 s.*TFCHARLM_PEER_SECONDS"):
        meet([f"127.0.0.1:{own}", f"127.0.0.1:{other}"], 0, notices.append)
    assert len(notices) == 1 and f"127.0.0.1:{other} of TF_CONFIG cannot be reached" in notices[0]


def test_a_name_that_is_nobodys_ends_earlier(monkeypatch):
    monkeypatch.setattr("tfcharlm.training.peers.SECONDS_FOR_A_NAME", 0.5)
    with pytest.raises(TimeoutError, match=r"no-such-host.invalid:2222 .* cannot be reached .*; gave up after 0.5 s"):
        meet([f"127.0.0.1:{free_ports(1)[0]}", "no-such-host.invalid:2222"], 0)


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "nan"])
def test_a_wrong_time_is_named(value, monkeypatch):
    monkeypatch.setenv("TFCHARLM_PEER_SECONDS", value)
    with pytest.raises(ValueError, match="TFCHARLM_PEER_SECONDS must be a number above 0; received"):
        meet(["127.0.0.1:1", "127.0.0.1:2"], 0)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["SIGTERM", "SIGINT"]
)
def test_waiting_can_be_interrupted(number, kind, caplog):
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    own, other = free_ports(2)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
    timer.start()
    try:
        with pytest.raises(kind) as error:
            meet([f"127.0.0.1:{own}", f"127.0.0.1:{other}"], 0)
        assert signal.getsignal(signal.SIGTERM) == before[1]
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before[0])
    if number == signal.SIGTERM:
        assert error.value.code == 143 and caplog.messages == ["tfcharlm: terminated."]
    socket.create_server(("127.0.0.1", own)).close()  # nobody listens any more


def test_while_tensorflow_waits_signals_end_the_process():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with with_default_signals():
            assert {signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_DFL}
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="the machine has no socket for both")
@pytest.mark.parametrize("own", ["127.0.0.1", "[::1]"])
def test_a_worker_listens_at_all_its_addresses(own):
    (port,) = free_ports(1)
    with listening(f"{own}:{port}"):
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=10).close()

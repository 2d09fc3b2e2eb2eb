"""`tfcharlm serve` as a process: clients that exist, clients that misbehave, and its end."""

import concurrent.futures
import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time

import openai
import pytest
from helpers.serving import make_served_model
from helpers.serving_process import GARBAGE, KEY, PATIENCE, Server


@pytest.fixture(scope="module")
def model():
    return make_served_model()


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("served") / "letters" / "1")


@pytest.fixture(scope="module")
def server(directory):
    server = Server(directory, "--port", 0, "--rows", 8, TFCHARLM_API_KEY=KEY)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)


def test_the_client_of_openai_lists_completes_streams_and_stops(client, model):
    assert [one.id for one in client.models.list()] == ["letters"]
    arguments = {"model": "letters", "prompt": "abc", "max_tokens": 300, "seed": 5, "temperature": 0.7}
    expected = model.generate("abc", max_length=300, seed=5, temperature=0.7)[3:]
    completion = client.completions.create(**arguments, logprobs=3)
    assert completion.choices[0].text == expected and completion.usage.completion_tokens == 300
    assert "".join(completion.choices[0].logprobs.tokens) == expected
    assert all(len(likely) == 3 for likely in completion.choices[0].logprobs.top_logprobs)
    with client.completions.create(**arguments, stream=True) as stream:
        pieces = [chunk.choices[0].text for chunk in stream]
    assert "".join(pieces) == expected and len(pieces) > 2
    stop = expected[20:22]
    stopped = client.completions.create(**arguments, stop=[stop]).choices[0]
    assert stopped.text == expected[: expected.index(stop)] and stopped.finish_reason == "stop"


def test_errors_are_those_that_the_client_knows(client):
    with pytest.raises(openai.NotFoundError, match="model must be one of letters"):
        client.completions.create(model="nobody", prompt="a")
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.completions.create(model="letters", prompt="a", max_tokens=-1)
    with pytest.raises(openai.AuthenticationError, match="API key"):
        client.with_options(api_key="another key").models.list()


def test_curl(server, model):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl, the client under test; the openai client is tested everywhere")
    body = '{"prompt": "ab", "max_tokens": 30, "seed": 2, "stream": true}'
    command = [curl, "-sN", f"{server.url}/v1/completions", "-d", body, "-H", "Content-Type: application/json"]
    out = subprocess.run([*command, "-H", f"Authorization: Bearer {KEY}"], capture_output=True, text=True, check=True)
    text = "".join(re.findall(r'"text": "((?:[^"\\]|\\.)*)"', out.stdout)).replace("\\n", "\n")
    assert "ab" + text == model.generate("ab", max_length=30, seed=2)


def test_clients_that_go_away_free_their_rows(server, client):
    for stream in (True, False):
        with pytest.raises(openai.APITimeoutError):
            for _ in client.with_options(timeout=0.5).completions.create(
                model="letters", prompt=["a"] * 20, max_tokens=16_000, stream=stream
            ):
                time.sleep(0.1)
                raise openai.APITimeoutError(request=None)
    deadline = time.monotonic() + PATIENCE
    while server.metric("tfcharlm_active_texts") or server.metric("tfcharlm_waiting_texts"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


AHEAD = {"a line": b"\r\n", "a request": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "a lot": b"x" * 100_000}


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("ahead", AHEAD)
def test_clients_that_sent_more_and_go_away_free_their_rows(server, ahead, close):
    """Bytes that follow a request do not hide that the client leaves, before it was sent anything."""
    content = json.dumps({"prompt": ["a"] * 64, "n": 2, "max_tokens": 16_384}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Connection: close\r\n" * close + "Content-Type: application/json\r\n"
    with socket.create_connection(server.address, timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        while not server.metric("tfcharlm_active_texts"):
            pass
        connection.sendall(AHEAD[ahead])
    # All texts would take half a minute.
    deadline = time.monotonic() + 8
    while server.metric("tfcharlm_active_texts") or server.metric("tfcharlm_waiting_texts"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not [line for line in server.lines if "rror" in line], server.lines


def test_requests_that_are_sent_together_are_answered_in_turn(server, model):
    head = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    sent = ""
    for seed, close in ((1, ""), (2, ""), (3, "Connection: close\r\n")):
        content = json.dumps({"prompt": "a", "max_tokens": 50, "seed": seed})
        sent += f"POST /v1/completions HTTP/1.1\r\n{head}{close}Content-Length: {len(content)}\r\n\r\n{content}"
    with socket.create_connection(server.address, timeout=PATIENCE) as connection, connection.makefile("rb") as answer:
        connection.sendall(sent.encode())
        texts = re.findall(r'"text":"((?:[^"\\]|\\.)*)"', answer.read().decode())
    assert ["a" + text.replace("\\n", "\n") for text in texts] == model.generate("a", max_length=50, seed=1, samples=3)


@pytest.mark.slow
@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_does_not_stop_others(server, client, case):
    with socket.create_connection(server.address, timeout=PATIENCE) as connection, contextlib.suppress(OSError):
        connection.sendall(GARBAGE[case])
        connection.settimeout(1)
        answer = connection.recv(4096)
        assert not answer or re.match(rb"HTTP/1.1 4\d\d ", answer)
    assert len(client.completions.create(model="letters", prompt="a", max_tokens=5).choices[0].text) == 5


def test_texts_of_many_clients_at_once(client, model):
    def write(seed):
        return client.completions.create(model="letters", prompt="b", max_tokens=40, seed=seed).choices[0].text

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        texts = list(threads.map(write, range(40)))
    assert ["b" + text for text in texts] == model.generate(["b"] * 40, max_length=40, seed=list(range(40)))


@pytest.mark.slow
def test_a_server_that_is_told_to_end_finishes_its_texts(directory, model):
    server = Server(directory, "--port", 0, "--rows", 2)
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        writing = threads.submit(client.completions.create, model="letters", prompt="b", max_tokens=8000, seed=1)
        while not server.metric("tfcharlm_active_texts"):
            assert not writing.done()
        server.process.send_signal(signal.SIGTERM)
        assert "b" + writing.result().choices[0].text == model.generate("b", max_length=8000, seed=1)
    assert server.process.wait(PATIENCE) in (0, -signal.SIGTERM)
    server.kill()
    # Killed without a warning, there is nothing to clean up: the port is free again.
    again = Server(directory, "--port", server.address[1])
    again.kill()
    third = Server(directory, "--port", server.address[1])
    assert third.url == server.url
    third.kill()


WRONG = {
    "--host 0.0.0.0": "--host 0.0.0.0 lets other machines in, which needs a key; give --api-key KEY",
    "--port 70000": "--port must be a whole number from 0 to 65535; received 70000.",
    "--rows 0": "--rows must be a whole number from 1 to 1024; received 0.",
    "--host example.invalid --api-key 12345678": "--host example.invalid --port 8000 cannot be used",
    "--api-key short": "the API key must have 8 or more printable ASCII characters.",
}


@pytest.mark.parametrize("options", WRONG)
def test_wrong_options_are_one_line(command, directory, options):
    status, out, err = command("serve", directory, *options.split())
    assert status == 2 and not out and err.startswith(f"tfcharlm: {WRONG[options]}") and err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(command, directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = command("serve", directory, "--port", port)
    assert status == 2 and f"--port {port} cannot be used: address already in use" in err


def test_two_models_of_one_name_are_one_line(command, directory, tmp_path):
    shutil.copytree(directory, tmp_path / "letters" / "2")
    status, _, err = command("serve", directory, tmp_path / "letters", "--port", 0)
    assert status == 2 and "models must have different names; received 'letters' twice." in err

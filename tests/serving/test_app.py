"""The protocol: what each path answers, and one line for every fault."""

import json
import re

import numpy as np
import pytest
from helpers.serving import make_client, make_served_model

JSON = {"content-type": "application/json"}


def post(client, path="/v1/completions", **body):
    return client.post(path, json=body)


def events(response):
    """The data of server-sent events; the last one says that the stream is done."""
    lines = [line for line in response.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines) and lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def test_models_are_listed(client):
    answer = client.get("/v1/models").json()
    assert answer["object"] == "list" and [one["id"] for one in answer["data"]] == ["letters"]
    assert client.get("/v1/models/letters").json() == answer["data"][0]


def test_a_completion_is_the_text_of_generate(client, served_model):
    settings = {"temperature": 0.8, "top_p": 0.9, "top_k": 7, "seed": 5}
    answer = post(client, model="letters", prompt="abc", max_tokens=30, **settings).json()
    (choice,) = answer["choices"]
    assert "abc" + choice["text"] == served_model.generate("abc", max_length=30, **settings)
    assert answer["object"] == "text_completion" and answer["model"] == "letters" and choice["logprobs"] is None
    assert choice["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 30, "total_tokens": 33}


def test_defaults_are_those_of_the_protocol(client):
    answer = post(client, prompt="a").json()
    assert len(answer["choices"]) == 1 and len(answer["choices"][0]["text"]) == 16
    nulls = dict.fromkeys(("max_tokens", "temperature", "top_p", "n", "seed", "stop", "stream", "logprobs", "echo"))
    assert len(post(client, prompt="a", **nulls).json()["choices"][0]["text"]) == 16


def test_several_prompts_and_texts(client, served_model):
    answer = post(client, prompt=["ab", "c"], n=3, max_tokens=9, seed=4, echo=True).json()
    assert [choice["index"] for choice in answer["choices"]] == list(range(6))
    expected = served_model.generate(["ab", "c"], max_length=9, seed=4, samples=3)
    assert [choice["text"] for choice in answer["choices"]] == expected[0] + expected[1]
    assert answer["usage"]["prompt_tokens"] == 3 and answer["usage"]["completion_tokens"] == 54


def test_stop(client, served_model):
    stop = served_model.generate("a", max_length=200, seed=1)[40:42]
    answer = post(client, prompt="a", max_tokens=200, seed=1, stop=[stop, "zzz"]).json()
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert "a" + answer["choices"][0]["text"] == served_model.generate("a", max_length=200, seed=1, stop=stop)


@pytest.mark.parametrize("echo", [False, True])
def test_a_stream_has_the_same_text(client, echo):
    body = {"prompt": ["ab", ""], "max_tokens": 70, "seed": 3, "echo": echo, "logprobs": 2}
    whole = post(client, **body).json()["choices"]
    chunks = events(post(client, **body, stream=True, stream_options={"include_usage": True}))
    assert chunks.pop()["usage"]["completion_tokens"] == 140
    parts = [chunk["choices"][0] for chunk in chunks]
    assert len(parts) > 2 and len({chunk["id"] for chunk in chunks}) == 1
    for expected in whole:
        own = [part for part in parts if part["index"] == expected["index"]]
        assert "".join(part["text"] for part in own) == expected["text"]
        assert [part["finish_reason"] for part in own] == [None] * (len(own) - 1) + ["length"]
        for key, values in expected["logprobs"].items():
            assert [value for part in own for value in part["logprobs"][key]] == values


def test_a_prompt_is_scored_without_writing(client, served_model):
    """What programs that compare models do: echo, logprobs, no tokens to write."""
    answer = post(client, prompt="abc ab", max_tokens=0, echo=True, logprobs=0).json()["choices"][0]
    assert answer["text"] == "abc ab" == "".join(answer["logprobs"]["tokens"])
    expected = served_model.token_log_probabilities("abc ab")
    np.testing.assert_allclose(answer["logprobs"]["token_logprobs"], expected, atol=1e-4)
    assert answer["logprobs"]["text_offset"] == list(range(6))


def test_scores(client, served_model):
    answer = post(client, "/v1/score", input=["abc", "", "no."]).json()
    expected = served_model.score(["abc", "", "no."])
    for i, one in enumerate(answer["data"]):
        assert one == {"index": i} | {key: values[i] for key, values in expected.items()}
    assert post(client, "/v1/score", input="abc").json()["data"] == answer["data"][:1]


WRONG = {
    "an unknown model": ({"model": "nobody"}, 404, "model must be one of letters; received 'nobody'."),
    "another type": ({"prompt": 5}, 400, "prompt"),
    "tokens instead of text": ({"prompt": [1, 2]}, 400, "prompt"),
    "an empty list": ({"prompt": []}, 400, "prompt must have 1 to 64 texts; received 0."),
    "too many prompts": ({"prompt": ["a"] * 65}, 400, "prompt must have 1 to 64 texts; received 65."),
    "too many rows": ({"prompt": ["a"] * 64, "n": 3}, 400, "prompts times n must be at most 128; received 192."),
    "too long": ({"prompt": "a" * 100_001}, 400, "prompt"),
    "too long together": ({"prompt": ["a" * 60_000] * 2}, 400, "all prompts together"),
    "a negative number": ({"max_tokens": -1}, 400, "max_tokens"),
    "a huge number": ({"max_tokens": 10**9}, 400, "max_tokens"),
    "a text for a number": ({"temperature": "warm"}, 400, "temperature"),
    "a bool for a number": ({"max_tokens": True}, 400, "max_tokens"),
    "no probability": ({"top_p": 0}, 400, "top_p"),
    "no probability in float32": ({"top_p": 5e-324}, 400, "top_p must be a number above 0 and at most 1"),
    "too many likely tokens": ({"logprobs": 6}, 400, "logprobs"),
    "an empty stop": ({"stop": ""}, 400, "stop"),
    "too many stops": ({"stop": ["a"] * 17}, 400, "stop must have 1 to 16 texts; received 17."),
    "a penalty": ({"presence_penalty": 0.5}, 400, "presence_penalty"),
    "a suffix": ({"suffix": "end"}, 400, "suffix"),
    "an unknown field": ({"topp": 0.5}, 400, "topp is not a field of this request; omit it."),
    "the last seeds": ({"seed": 2**63 - 1, "n": 2}, 400, "seed must leave room"),
    "a seed of 65 bits": ({"seed": 2**63}, 400, "seed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named_in_one_line(client, case):
    body, status, message = WRONG[case]
    response = post(client, **body)
    error = response.json()["error"]
    assert response.status_code == status and error["message"].startswith(message), error
    assert error["type"] == "invalid_request_error" and "\n" not in error["message"] and len(error["message"]) < 300
    assert error["param"] in error["message"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"prompt": NaN}', b"[" * 90_000]
)
def test_a_body_that_is_no_object_is_one_line(client, content):
    response = client.post("/v1/completions", content=content, headers=JSON)
    assert response.status_code == 400 and "\n" not in response.json()["error"]["message"]


def test_other_types_paths_and_methods(client):
    assert client.post("/v1/completions", data={"prompt": "a"}).status_code == 415
    assert client.post("/v1/completions", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert client.get("/v1/chat/completions").status_code == 404
    assert client.get("/v1/completions").status_code == 405
    assert client.get("/docs").status_code == 404
    for response in (client.get("/no%0Awhere"), client.get("/v1/models/nobody")):
        assert response.status_code == 404 and "\n" not in response.json()["error"]["message"]


def test_a_large_body_is_refused(client):
    response = client.post("/v1/completions", content=b" " * (2 << 20) + b"{}", headers=JSON)
    assert response.status_code == 413

    def chunks():
        for _ in range(40):
            yield b" " * 100_000

    response = client.post("/v1/completions", content=chunks(), headers=JSON)
    assert response.status_code == 413


def test_pages_of_others_are_refused(client):
    assert client.get("/v1/models", headers={"origin": "https://example.org"}).status_code == 403
    assert client.get("/v1/models", headers={"origin": "http://localhost"}).status_code == 200
    assert client.get("/v1/models", headers={"host": "example.org"}).status_code == 403
    assert client.get("/v1/models", headers={"host": "127.0.0.1:8000"}).status_code == 200


def test_health_and_metrics(client):
    post(client, prompt="a")
    assert client.get("/healthz").json() == {"status": "ok"}
    text = client.get("/metrics").text
    assert 'tfcharlm_requests_total{path="/v1/completions",status="200"}' in text
    assert 'tfcharlm_active_texts{model="letters"} 0.0' in text
    assert float(re.search(r"(?m)^tfcharlm_tokens_total (\S+)", text)[1]) >= 16


def test_the_schema_is_that_of_what_is_answered(client):
    schema = client.get("/openapi.json").json()
    assert {"/v1/completions", "/v1/score", "/v1/models", "/healthz", "/metrics"} <= set(schema["paths"])
    assert "422" not in json.dumps(schema["paths"])


@pytest.fixture(scope="module")
def private_client():
    with make_client(make_served_model(), api_key="correct horse", origins=["https://example.org"], rows=2) as client:
        yield client


def test_a_key_is_needed(private_client):
    for header in (None, "Bearer wrong", "Basic correct horse", "Bearer", "correct horse", "Bearer é"):
        headers = {} if header is None else {"authorization": header.encode("latin-1")}
        response = private_client.get("/v1/models", headers=headers)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer", header
    assert private_client.get("/v1/models", headers={"authorization": "Bearer correct horse"}).status_code == 200
    assert private_client.get("/metrics").status_code == 401
    assert private_client.get("/healthz").status_code == 200


def test_an_allowed_origin_may_read_answers(private_client):
    headers = {"origin": "https://example.org", "host": "model.example.org"}
    response = private_client.options("/v1/completions", headers=headers)
    assert response.status_code == 204 and response.headers["access-control-allow-origin"] == "https://example.org"
    response = private_client.get("/v1/models", headers=headers | {"authorization": "Bearer correct horse"})
    assert response.headers["access-control-allow-origin"] == "https://example.org"
    assert (
        private_client.options("/v1/completions", headers=headers | {"origin": "https://else.org"}).status_code == 403
    )

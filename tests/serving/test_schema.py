"""Requests that are made up from the schema: whatever fits or does not, the server does not fail."""

import hypothesis
import pytest
from helpers.serving import make_served_model
from helpers.serving_process import PATIENCE, Server

schemathesis = pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow


def test_no_request_makes_the_server_fail(tmp_path):
    server = Server(make_served_model().export(tmp_path / "letters" / "1"), "--port", 0, "--queue", 1000)
    try:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        statuses = []
        for operation in schema.get_all_operations():
            strategy = operation.ok().as_strategy()

            @hypothesis.settings(
                max_examples=60, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
            )
            @hypothesis.given(case=strategy)
            def try_out(case):
                # Long texts would only take long.
                if isinstance(case.body, dict) and isinstance(case.body.get("max_tokens"), int):
                    case.body["max_tokens"] %= 64
                response = case.call(timeout=PATIENCE)
                assert response.status_code < 500, (case.as_curl_command(), response.text)
                statuses.append(response.status_code)

            try_out()
        assert {200, 400} <= set(statuses)
        assert not [line for line in server.lines if "rror" in line], server.lines
    finally:
        server.kill()

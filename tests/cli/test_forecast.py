"""`penchant forecast`: what it prints of the gateway's answer."""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate

from cli.commands.forecast import GUEST_QUERY, USER_QUERY
from tests.cli.conftest import ServeStack
from tests.commands import invoke

MADE = {"asOf": "2026-01-05T12:00:00Z", "modelVersion": "forecast-1", "degraded": []}
DRIVERS = [{"side": "RECENCY", "contribution": 1.25, "text": "The last order was 80 days ago."}]
ANSWERS: dict[str, dict[str, Any]] = {
    "anna": {
        "churn": {**MADE, "probability": 0.75, "band": "HIGH", "drivers": DRIVERS},
        "nextPurchase": {
            **MADE,
            "probability": 0.25,
            "expectedDate": "2026-02-05T12:00:00Z",
            "categories": [{"key": "drinks", "share": 0.62}, {"key": "bread", "share": 0.2}],
        },
    },
    "nobody": {"churn": None, "nextPurchase": None},
    "early": {
        "churn": {**MADE, "probability": None, "band": None, "drivers": [], "degraded": ["NO_MODEL"]},
        "nextPurchase": {**MADE, "probability": None, "expectedDate": None, "categories": []},
    },
}


class _Gateway(BaseHTTPRequestHandler):
    """Answers as a gateway does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/oauth/token":
            answer: Any = {"access_token": "t", "token_type": "Bearer"}
        else:
            answer = {"data": {"person": ANSWERS[json.loads(body)["variables"]["id"]]}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture(autouse=True)
def demo(serve_stack: ServeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose demo is up, and a wide terminal."""
    serve_stack(_Gateway, "s")
    monkeypatch.setenv("COLUMNS", "200")


def test_it_says_when_somebody_orders_and_why_they_may_not() -> None:
    result = invoke("forecast", "anna")
    assert result.exit_code == 0, result.output
    assert "anna orders within 90 days with probability 0.25, then about 2026-02-05. The risk of leaving is HIGH." in (
        result.output
    )
    assert "The order is most likely of: drinks (62%), bread (20%)." in result.output
    for shown in ("recency", "+1.25", "The last order was 80 days ago.", "forecast-1"):
        assert shown in result.output


def test_json_is_the_answer_of_the_gateway() -> None:
    assert json.loads(invoke("forecast", "anna", "--json").stdout) == ANSWERS["anna"]


@pytest.mark.parametrize(("user", "says"), [("nobody", "nobody never bought."), ("early", "No forecast serves")])
def test_without_a_forecast_it_says_so(user: str, says: str) -> None:
    result = invoke("forecast", user)
    assert (result.exit_code, says in result.output) == (0, True)


def test_a_wrong_time_is_a_wrong_command() -> None:
    assert invoke("forecast", "anna", "--within", "366").exit_code == 2


def test_its_queries_fit_the_schema() -> None:
    schema = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text())
    for query in (USER_QUERY, GUEST_QUERY):
        assert validate(schema, parse(query)) == []

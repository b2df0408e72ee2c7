"""`penchant explain`: what it prints, and its errors."""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate

from cli.commands.explain import QUERY
from tests.cli.conftest import ServeStack
from tests.commands import invoke

SHOP = {"id": "milk", "title": "Milk"}
EXPLANATION: dict[str, Any] = {
    "outcome": "RANKED_BELOW", "summary": "Below the list, at rank 23.", "rank": 23, "rule": None, "ruleId": None,
    "until": None, "rankWithoutRules": 7,
    "rules": [
        {"ruleId": "top", "version": 2, "kind": "PIN", "factor": None, "position": 3},
        {"ruleId": "less", "version": 1, "kind": "BURY", "factor": 0.5, "position": None},
    ],
    "score": 0.25, "probability": None, "modelVersion": "affinity-1", "asOf": "2026-01-05T12:00:00Z", "degraded": [],
    "item": SHOP, "edge": {"rank": 20, "score": 0.5, "item": SHOP},
    "reason": {"code": "SIMILAR_TO", "text": "Like tea"},
    "sources": [
        {"source": "SIMILAR_ITEMS", "names": True, "evidence": 1.5, "place": 1_234, "takes": 200, "because": [SHOP]},
        {"source": "NEXT_ITEMS", "names": False, "evidence": None, "place": None, "takes": 60, "because": []},
    ],
    "parts": {
        "method": "Shapley values", "logit": -1.5, "medianLogit": -2.25, "lift": 0.3, "lowering": 0.5,
        "contributions": [{"group": "OWN_PURCHASES", "value": 0.75}],
    },
}  # fmt: skip


class _Gateway(BaseHTTPRequestHandler):
    """Answers as a gateway does: a token, an explanation for it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/oauth/token":
            answer: Any = {"access_token": "t", "token_type": "Bearer"}
        elif json.loads(body)["variables"]["model"] == "gone":
            answer = {"errors": [{"message": "There is no such model."}]}
        else:
            answer = {"data": {"explain": EXPLANATION}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def demo(serve_stack: ServeStack) -> None:
    """A folder whose demo is up."""
    serve_stack(_Gateway, "s")


def test_it_says_where_the_item_is_and_why(demo: None) -> None:
    result = invoke("explain", "anna", "milk")
    assert result.exit_code == 0, result.output
    for shown in (
        "RANKED BELOW", "at rank 23", "Like tea", "Score 0.2500; the last item shown has 0.5000",
        "+ similar items: place 1,234, takes 200; because of Milk", "- next items: knows nothing of it",
        "top, version 2: pin at position 3", "less, version 1: bury, odds x 0.5",
        "Without rules it would be at rank 7.",
        "+0.750  own purchases", "lifts the score by 0.300", "lowers the score to 50%", "By affinity-1",
    ):  # fmt: skip
        assert shown in result.output


def test_json_is_what_the_gateway_says(demo: None) -> None:
    assert json.loads(invoke("explain", "anna", "milk", "--json").output) == EXPLANATION


def test_a_refusal_is_one_line(demo: None) -> None:
    result = invoke("explain", "anna", "milk", "--model", "gone")
    assert result.exit_code != 0
    assert "There is no such model." in result.output


def test_the_query_fits_the_schema() -> None:
    schema = build_schema(Path("schema.graphql").read_text(), assume_valid_sdl=True)
    assert validate(schema, parse(QUERY)) == []

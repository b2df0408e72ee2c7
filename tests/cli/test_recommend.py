"""`penchant recommend`: what it prints, and its errors."""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate

from cli.commands.recommend import GUEST_QUERY, USER_QUERY
from tests.cli.conftest import ServeStack
from tests.commands import invoke

LIST = {
    "modelVersion": "affinity-1",
    "asOf": "2026-01-05T12:00:00Z",
    "degraded": [],
    "edges": [
        {
            "rank": 1,
            "probability": 0.5,
            "reason": {"code": "DUE_AGAIN", "text": "It may be time for [Milk] again."},
            "node": {"id": "milk", "title": "[Milk]", "brand": None, "price": None},
        }
    ],
}


class _Gateway(BaseHTTPRequestHandler):
    """Answers as a gateway does: a token for the right secret, a list for the token."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/oauth/token":
            answer: Any = {"access_token": "t", "token_type": "Bearer"}
        elif json.loads(body)["variables"]["filter"] == {"brands": ["b"]}:
            asked = {name: value for name, value in json.loads(body)["variables"].items() if value is not None}
            answer = {"data": {"person": {"known": True, "recommendations": LIST, "asked": asked}}}
        elif json.loads(body)["variables"]["id"] == "broken":
            answer = {"errors": [{"message": "Something went wrong on our side."}]}
        else:
            answer = {"data": {"person": {"known": True, "recommendations": LIST}}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def demo(serve_stack: ServeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose demo is up, and a wide terminal."""
    serve_stack(_Gateway, "s")
    monkeypatch.setenv("COLUMNS", "200")


def test_it_shows_items_with_their_reasons(demo: None) -> None:
    result = invoke("recommend", "anna")
    assert result.exit_code == 0, result.output
    for shown in ("[Milk]", "0.500", "It may be time for [Milk] again.", "affinity-1"):
        assert shown in result.output


def test_json_is_the_answer_of_the_gateway(demo: None) -> None:
    result = invoke("recommend", "anna", "--json")
    assert json.loads(result.stdout)["recommendations"] == LIST


def test_the_list_of_one_person_is_of_the_placement_market_and_filter_that_the_command_names(demo: None) -> None:
    options = ["--placement", "cart", "--market", "DE", "--filter", '{"brands": ["b"]}', "--json"]
    asked = json.loads(invoke("recommend", "anna", *options).stdout)["asked"]
    assert asked == {"id": "anna", "first": 10, "placement": "cart", "market": "DE", "filter": {"brands": ["b"]}}


@pytest.mark.parametrize(
    "options", [["--filter", "no JSON"], ["--filter", '{"colour": 1}'], ["--format", "jsonl"], ["--filter", "[]"]]
)
def test_what_cannot_be_obeyed_is_refused(options: list[str], demo: None) -> None:
    refused = invoke("recommend", "anna", *options)
    assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
    assert options[0].strip("-") in refused.stderr.lower()


def test_errors_of_the_gateway_are_printed_and_end_with_exit_code_1(demo: None) -> None:
    result = invoke("recommend", "broken")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Something went wrong" in result.stderr


def test_without_a_demo_the_missing_options_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENCHANT_PUBLIC_URL", raising=False)
    result = invoke("recommend", "anna")
    assert result.exit_code == 2
    assert "--url" in result.stderr


def test_an_unreachable_gateway_has_its_own_exit_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_CLIENT_SECRET", "s")
    result = invoke("recommend", "anna", "--url", "http://127.0.0.1:1", "--client", "x")
    assert result.exit_code == 3


@pytest.mark.parametrize("query", [USER_QUERY, GUEST_QUERY])
def test_its_query_fits_the_committed_schema(query: str) -> None:
    schema = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text())
    assert validate(schema, parse(query)) == []

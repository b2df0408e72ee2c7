"""`penchant recommend`: what it prints, and how it fails."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate
from typer.testing import CliRunner

from cli.main import app
from cli.recommend import GUEST_QUERY, USER_QUERY

LIST = {
    "modelVersion": "affinity-1",
    "asOf": "2026-01-05T12:00:00Z",
    "degraded": [],
    "edges": [
        {
            "rank": 1,
            "score": 0.5,
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
        elif json.loads(body)["variables"]["id"] == "broken":
            answer = {"errors": [{"message": "Something went wrong on our side."}]}
        else:
            answer = {"data": {"person": {"known": True, "recommendations": LIST}}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose demo is up."""
    server = HTTPServer(("127.0.0.1", 0), _Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    (tmp_path / ".penchant").mkdir()
    demo = {"base_url": f"http://127.0.0.1:{server.server_port}", "client_id": "demo", "client_secret": "s"}
    (tmp_path / ".penchant" / "demo.json").write_text(json.dumps(demo))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PENCHANT_PUBLIC_URL", raising=False)
    yield tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_shows_items_with_their_reasons(checkout: Path) -> None:
    result = CliRunner().invoke(app, ["recommend", "anna"])
    assert result.exit_code == 0, result.output
    for shown in ("[Milk]", "0.500", "It may be time for [Milk] again.", "affinity-1"):
        assert shown in result.output


def test_json_is_the_answer_itself(checkout: Path) -> None:
    result = CliRunner().invoke(app, ["recommend", "anna", "--json"])
    assert json.loads(result.stdout)["recommendations"] == LIST


def test_errors_of_the_gateway_end_it_with_one(checkout: Path) -> None:
    result = CliRunner().invoke(app, ["recommend", "broken"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Something went wrong" in result.stderr


def test_without_a_demo_it_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PENCHANT_PUBLIC_URL", raising=False)
    result = CliRunner().invoke(app, ["recommend", "anna"])
    assert result.exit_code == 2
    assert "--url" in result.stderr


def test_a_gateway_that_is_away_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENCHANT_CLIENT_SECRET", "s")
    result = CliRunner().invoke(app, ["recommend", "anna", "--url", "http://127.0.0.1:1", "--client", "x"])
    assert result.exit_code == 3


@pytest.mark.parametrize("query", [USER_QUERY, GUEST_QUERY])
def test_what_it_asks_is_in_the_committed_schema(query: str) -> None:
    schema = build_schema((Path(__file__).parents[2] / "schema.graphql").read_text())
    assert validate(schema, parse(query)) == []

"""`penchant token`: what it asks for, prints, and says when it is refused."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest
from typer.testing import CliRunner, Result

from cli.main import app

SECRET = "the-demo's-secret"
Asked = list[tuple[str, str, dict[str, list[str]]]]


class TokenEndpoint(BaseHTTPRequestHandler):
    """Remembers what it is asked; the scope of a request decides how it is answered."""

    asked: Asked

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), strict_parsing=True)
        self.asked.append((self.path, self.headers.get("Authorization", ""), form))
        answers = {
            "bad:scope": (400, b'{"error":"invalid_scope","error_description":"No such scope."}'),
            "no:json": (200, b"<html>"),
            "no:reason": (502, b"<html>"),
            "else:where": (302, b""),
        }
        status, body = answers.get(form.get("scope", [""])[0], (200, b'{"access_token":"a.b.c"}'))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/stolen")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked() -> Asked:
    """Path, Authorization and form of each request."""
    return []


@pytest.fixture(autouse=True)
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked) -> Iterator[str]:
    """A checkout whose demo is up; the base URL."""
    server = HTTPServer(("127.0.0.1", 0), type("Endpoint", (TokenEndpoint,), {"asked": asked}))
    url = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / ".penchant").mkdir()
    facts = {"base_url": url, "client_id": "demo", "client_secret": SECRET}
    (tmp_path / ".penchant" / "demo.json").write_text(json.dumps(facts))
    monkeypatch.chdir(tmp_path)
    for name in ("PENCHANT_PUBLIC_URL", "PENCHANT_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["token", *arguments], input=stdin)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def test_the_demos_token_is_printed_bare(asked: Asked) -> None:
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a.b.c\n", "")
    assert asked == [("/oauth/token", basic("demo", "the-demo%27s-secret"), {"grant_type": ["client_credentials"]})]


@pytest.mark.parametrize(("option", "kind"), [("--user", "user-id"), ("--guest", "anonymous-id")])
def test_a_persons_token_is_asked_for_by_exchange(asked: Asked, option: str, kind: str) -> None:
    assert run(option, "Zoë & co", "--scope", "events:write").stdout == "a.b.c\n"
    assert asked[0][2] == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "subject_token": ["Zoë & co"],
        "subject_token_type": [f"urn:penchant:token-type:{kind}"],
        "scope": ["events:write"],
    }


def test_another_clients_secret_comes_from_stdin_or_the_environment(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--client", "shop", "--secret-stdin", stdin="first-secret\n").exit_code == 0
    monkeypatch.setenv("PENCHANT_CLIENT_SECRET", "second-secret")
    assert run("--client", "shop").exit_code == 0
    assert [sent for _, sent, _ in asked] == [basic("shop", "first-secret"), basic("shop", "second-secret")]


def test_an_unknown_secret_is_not_guessed(asked: Asked) -> None:
    result = run("--client", "shop")
    assert result.exit_code == 2
    assert "--secret-stdin" in result.stderr
    assert SECRET not in result.output
    assert asked == []


@pytest.mark.parametrize(
    ("scope", "code", "said"),
    [
        ("bad:scope", 1, "invalid_scope: No such scope."),
        ("no:reason", 1, "HTTP 502"),
        ("no:json", 3, "not a Penchant gateway"),
        ("else:where", 1, "HTTP 302"),
    ],
)
def test_a_refusal_is_explained_without_the_secret(asked: Asked, scope: str, code: int, said: str) -> None:
    result = run("--scope", scope)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert SECRET not in result.output
    assert [path for path, _, _ in asked] == ["/oauth/token"]


def test_no_answer_is_told_from_a_refusal() -> None:
    result = run("--url", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert "http://127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("arguments", [["--user", "a", "--guest", "b"], ["--url", "file:///etc/passwd"]])
def test_a_request_that_makes_no_sense_is_not_sent(arguments: list[str], asked: Asked) -> None:
    assert run(*arguments).exit_code == 2
    assert asked == []


def test_outside_of_a_checkout_the_missing_options_are_named(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    result = run()
    assert result.exit_code == 2
    assert "--client" in result.stderr

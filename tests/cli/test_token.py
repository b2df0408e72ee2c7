"""`penchant token`: its request, what it prints, and its errors."""

import base64
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

import pytest
from typer.testing import Result

from tests.cli.conftest import ServeStack
from tests.commands import invoke

SECRET = "the-demo's-secret"
Asked = list[tuple[str, str, dict[str, list[str]]]]


class TokenEndpoint(BaseHTTPRequestHandler):
    """Keeps every request; the scope of a request decides the answer."""

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
        """Log nothing."""


@pytest.fixture
def asked() -> Asked:
    """Path, Authorization and form of each request."""
    return []


@pytest.fixture(autouse=True)
def demo(serve_stack: ServeStack, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout whose demo is up, on a machine behind a proxy."""
    serve_stack(type("Endpoint", (TokenEndpoint,), {"asked": asked}), SECRET)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")


def run(*arguments: str, stdin: str = "") -> Result:
    return invoke("token", *arguments, stdin=stdin)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def test_the_token_of_the_demo_is_printed_alone(asked: Asked) -> None:
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a.b.c\n", "")
    assert asked == [("/oauth/token", basic("demo", "the-demo%27s-secret"), {"grant_type": ["client_credentials"]})]


@pytest.mark.parametrize(("option", "kind"), [("--user", "user-id"), ("--guest", "anonymous-id")])
def test_the_token_of_a_person_is_requested_by_exchange(asked: Asked, option: str, kind: str) -> None:
    assert run(option, "Zoë & co", "--scope", "events:write").stdout == "a.b.c\n"
    assert asked[0][2] == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "subject_token": ["Zoë & co"],
        "subject_token_type": [f"urn:penchant:token-type:{kind}"],
        "scope": ["events:write"],
    }


def test_the_secret_of_another_client_comes_from_stdin_or_the_environment(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--client", "shop", "--secret-stdin", stdin="first-secret\n").exit_code == 0
    monkeypatch.setenv("PENCHANT_CLIENT_SECRET", "second-secret")
    assert run("--client", "shop").exit_code == 0
    assert [sent for _, sent, _ in asked] == [basic("shop", "first-secret"), basic("shop", "second-secret")]


def test_the_secret_of_the_demo_is_not_sent_for_another_client(asked: Asked) -> None:
    result = run("--client", "shop")
    assert result.exit_code == 2
    assert "--secret-stdin" in result.stderr
    assert SECRET not in result.output
    assert asked == []


@pytest.mark.parametrize(
    ("scope", "code", "message"),
    [
        ("bad:scope", 1, "invalid_scope: No such scope."),
        ("no:reason", 1, "HTTP 502"),
        ("no:json", 3, "not a Penchant gateway"),
        ("else:where", 1, "HTTP 302"),
    ],
)
def test_a_refusal_is_explained_without_the_secret(asked: Asked, scope: str, code: int, message: str) -> None:
    result = run("--scope", scope)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert SECRET not in result.output
    assert [path for path, _, _ in asked] == ["/oauth/token"]


def test_an_unreachable_gateway_has_its_own_exit_code() -> None:
    result = run("--url", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert "http://127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("arguments", [["--user", "a", "--guest", "b"], ["--url", "file:///etc/passwd"]])
def test_a_wrong_command_sends_no_request(arguments: list[str], asked: Asked) -> None:
    assert run(*arguments).exit_code == 2
    assert asked == []


def test_outside_of_a_checkout_the_missing_options_are_named(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    result = run()
    assert result.exit_code == 2
    assert "--client" in result.stderr

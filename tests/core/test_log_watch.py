"""The search of the tests' logs finds what no log line may hold, and turns the run red."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.log_secrets import findings, findings_in_files
from tests.running import SECRET

LEAKING = """
import sys
import structlog

def test_a_good_line():
    structlog.get_logger().info("token_issued", client="shop", jti="7f3a")

def test_a_leaking_line(tmp_path):
    {leak}
"""


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f'{{"event": "x", "error": "wrong: {SECRET}"}}', "a planted secret"),
        ("an unspoken-password", "a planted secret"),
        ('{"user": "anna"}', "the id of a person"),
        ("key person:{g-1}:base", "the id of a person"),
        ("token eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "a JWT or a JWE"),
        ("$argon2id$v=19$m=19456", "an argon2 hash"),
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
        ('{"kty": "RSA", "d": "abcdefghijklmnopqrst"}', "a private key"),
        ("Authorization: Bearer abcdefghijklmnop", "an Authorization header"),
        ("authorization: basic c2hvcDpzZWNyZXQtb2Y=", "an Authorization header"),
        ("amqp://penchant:hidden@127.0.0.1:5672/main", "a password in a URL"),
        ("grant_type=refresh_token&refresh_token=abc", "a secret parameter"),
        ('{"password": "abc"}', "a secret parameter"),
        ("login failed for someone@shop.example", "an e-mail address"),
    ],
)
def test_a_line_that_says_too_much_is_found(line: str, kind: str) -> None:
    assert findings(f"before\n{line}\nafter") == [f"{kind}: {line}"]


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "signing_key_made", "kid": "kD3Jd-8", "level": "info"}',
        '{"event": "token_not_issued", "reason": "StoreUnavailable", "error": "postgres cannot be reached"}',
        "connected to amqp://penchant:**@127.0.0.1:5672/main and http://127.0.0.1:8000/graphql",
        "celery@host.example ready; Logs: /tmp/logs/penchant@localhost.log",
        "grant_type refresh_token is not allowed; banana, annabel, joanna",
    ],
)
def test_an_ordinary_line_is_not_found(line: str) -> None:
    assert findings(line) == []


def test_files_are_searched_whole(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(b"fine\n\xff\nfor anna\n")
    assert findings_in_files([tmp_path / "one.txt"]) == [f"{tmp_path}/one.txt: the id of a person: for anna"]


@pytest.mark.parametrize(
    ("workers", "leak", "red"),
    [
        ("0", 'structlog.get_logger().info("token_issued", client="shop")', False),
        ("0", 'structlog.get_logger().info("token_issued", token="eyJhbGciOiJSUzI1NiJ9")', True),
        ("1", 'print("unspoken", file=sys.stderr)', True),
        ("1", '(tmp_path / "gateway.log").write_text("unspoken")', True),
    ],
)
def test_a_run_with_such_a_line_is_red(tmp_path: Path, workers: str, leak: str, red: bool) -> None:
    (tmp_path / "test_leaking.py").write_text(LEAKING.format(leak=leak))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.fixtures.log_watch", "-n", workers, "--rootdir", ".", "-q", "."],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == int(red), done.stdout + done.stderr
    assert ("secrets or personal data in log lines" in done.stdout) is red
    assert "2 passed" in done.stdout

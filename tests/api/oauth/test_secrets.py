"""Client secrets: checked against their hash, remembered up to a limit."""

import os
import subprocess
import sys

import pytest

from api.oauth.clients import secrets
from api.oauth.clients.secrets import SecretChecker, hash_secret
from db.clients import Client
from tests.commands import ROOT


def test_a_process_hashes_with_the_least_work_that_owasp_names() -> None:
    program = "from api.oauth.clients.secrets import hash_secret; print(hash_secret('a-secret'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
    assert printed.startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")


def test_forgetting_a_secret_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "MAX_REMEMBERED", 1)
    checker = SecretChecker()
    clients = [Client(name, hash_secret(f"the-secret-of-{name}"), (), ()) for name in ("one", "two")]
    for _ in range(2):
        for client in clients:
            assert checker.check(client, f"the-secret-of-{client.id}")
            assert not checker.check(client, "another-secret")
    assert len(checker._good) == 1


def test_a_client_without_a_secret_is_never_authenticated() -> None:
    assert not SecretChecker().check(Client("pages", None, (), ()), "")
    assert not SecretChecker().check(None, "a-secret")


def test_during_an_overlap_both_secrets_are_the_clients_and_each_is_hashed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[str] = []
    real = secrets._matches

    def matches(stored: str, secret: str) -> bool:
        runs.append(stored)
        return real(stored, secret)

    monkeypatch.setattr(secrets, "_matches", matches)
    checker, new, old = SecretChecker(), hash_secret("the-new-secret"), hash_secret("the-old-secret")
    both = Client("shop", new, (), (), previous_hash=old)
    for _ in range(3):
        assert checker.check(both, "the-old-secret") and checker.check(both, "the-new-secret")
        assert not checker.check(both, "another-secret")
    first, wrong = [new, old, new], [new, old]
    assert runs == [*first, *3 * wrong]
    after = Client("shop", new, (), ())
    assert checker.check(after, "the-new-secret") and not checker.check(after, "the-old-secret")

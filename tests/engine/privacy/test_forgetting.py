"""People erase themselves with two tokens: a confirmation is good for its person, its client and ten minutes."""

from datetime import UTC, datetime, timedelta

import pytest

from core import clock
from core.contract import Person
from core.errors import Forbidden
from engine.privacy.forgetting import LASTS, NotConfirmed, ask_to_forget, check_confirmed
from engine.signing import Signer
from engine.viewer import Viewer

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANNA, SIGNER = Person("user", "anna"), Signer("a secret of a test")
FIRST = Viewer("app", frozenset({"events:write"}), ANNA, 1_000)
NEWER = Viewer("app", FIRST.scopes, ANNA, 1_001)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def test_a_newer_token_of_the_person_confirms() -> None:
    asked = ask_to_forget(SIGNER, FIRST)
    assert asked.expires_at == NOW + LASTS
    assert check_confirmed(SIGNER, NEWER, asked.text) == ANNA
    assert "anna" not in asked.text


@pytest.mark.parametrize(
    ("viewer", "message"),
    [
        (FIRST, "newer token"),
        (Viewer("app", FIRST.scopes, ANNA, 999), "newer token"),
        (Viewer("app", FIRST.scopes, Person("user", "bert"), 1_001), "another person or client"),
        (Viewer("app", FIRST.scopes, Person("guest", "anna"), 1_001), "another person or client"),
        (Viewer("web", FIRST.scopes, ANNA, 1_001), "another person or client"),
    ],
)
def test_no_other_token_does(viewer: Viewer, message: str) -> None:
    with pytest.raises(NotConfirmed, match=message):
        check_confirmed(SIGNER, viewer, ask_to_forget(SIGNER, FIRST).text)


def test_neither_does_a_text_that_is_none_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask_to_forget(SIGNER, FIRST)
    for text in ("", "x", asked.text[:-2], ask_to_forget(Signer("another secret"), FIRST).text):
        with pytest.raises(NotConfirmed, match="no confirmation"):
            check_confirmed(SIGNER, NEWER, text)
    monkeypatch.setattr(clock, "now", lambda: NOW + LASTS + timedelta(seconds=1))
    with pytest.raises(NotConfirmed, match="too old"):
        check_confirmed(SIGNER, NEWER, asked.text)


def test_a_client_erases_users_in_another_way() -> None:
    client = Viewer("app", FIRST.scopes, None, 1_001)
    with pytest.raises(Forbidden):
        ask_to_forget(SIGNER, client)
    with pytest.raises(Forbidden):
        check_confirmed(SIGNER, client, ask_to_forget(SIGNER, FIRST).text)

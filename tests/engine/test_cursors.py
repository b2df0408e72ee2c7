"""A cursor returns its position, and only for the list it was made for."""

from base64 import urlsafe_b64decode

import orjson
import pytest

from core.errors import InvalidInput
from engine.cursors import read_cursor, write_cursor
from engine.signing import Signer

SIGNER = Signer("x" * 32)


def test_a_cursor_returns_its_position() -> None:
    position = {"rank": 20, "seen": ["a", "b"]}
    assert read_cursor(SIGNER, "history", write_cursor(SIGNER, "history", position)) == position


def test_a_cursor_of_another_list_or_any_other_text_is_refused_with_its_field() -> None:
    for text in (write_cursor(SIGNER, "items", 1), SIGNER.sign("cursor history", b"1"), "", "MTc"):
        with pytest.raises(InvalidInput) as refusal:
            read_cursor(SIGNER, "history", text)
        assert refusal.value.field == "after"


def test_a_cursor_of_a_history_does_not_show_its_position() -> None:
    position = ["2026-03-01T12:00:00+00:00", "shop\x1fuser\x1falice\x1fshop", "e1"]
    cursor = write_cursor(SIGNER, "history", position)
    assert orjson.dumps(position)[:8] not in urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert b"alice" not in urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))

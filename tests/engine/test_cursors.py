"""A cursor returns its position, and only for the list it was made for."""

import pytest

from core.errors import InvalidInput
from engine.cursors import read_cursor, write_cursor
from engine.signing import Signer

SIGNER = Signer("x" * 32)


def test_a_cursor_returns_its_position() -> None:
    position = {"rank": 20, "seen": ["a", "b"]}
    assert read_cursor(SIGNER, "history", write_cursor(SIGNER, "history", position)) == position


def test_a_cursor_of_another_list_or_any_other_text_is_refused_with_its_field() -> None:
    for text in (write_cursor(SIGNER, "items", 1), "", "MTc"):
        with pytest.raises(InvalidInput) as refusal:
            read_cursor(SIGNER, "history", text)
        assert refusal.value.field == "after"

"""Lists are bounded, and cursors say only what we said."""

import pytest

from api.graphql.types.paging import check_first, read_cursor, write_cursor
from core.errors import InvalidInput
from engine.signing import Signer

SIGNER = Signer("x" * 32)


@pytest.mark.parametrize("first", [1, 20, 100])
def test_first_from_one_to_a_hundred_is_taken(first: int) -> None:
    assert check_first(first) == first


@pytest.mark.parametrize("first", [0, -1, 101, 2**31])
def test_first_outside_the_bounds_names_its_field(first: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_first(first)
    assert refusal.value.field == "first"


def test_a_cursor_gives_its_position_back() -> None:
    position = {"rank": 20, "seen": ["a", "b"]}
    assert read_cursor(SIGNER, "history", write_cursor(SIGNER, "history", position)) == position


def test_a_cursor_of_another_list_or_none_names_its_field() -> None:
    for text in (write_cursor(SIGNER, "items", 1), "", "MTc"):
        with pytest.raises(InvalidInput) as refusal:
            read_cursor(SIGNER, "history", text)
        assert refusal.value.field == "after"

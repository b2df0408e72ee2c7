"""What a person chose: bounds, joining, and the bytes that may stand before a packed state."""

from datetime import UTC, datetime

import pytest

from core.choices import (
    MOST_CATEGORIES,
    MOST_ITEMS,
    NO_CHOICES,
    Choices,
    TooManyHidden,
    check_category,
    choices_in,
    cut_choices,
    with_newer,
)
from core.errors import InvalidInput

SINCE = datetime(2026, 11, 28, 12, 0, 0, 250, tzinfo=UTC)
SOME = Choices(("i1", "ä 2"), ("toys",), SINCE, 7)


@pytest.mark.parametrize("rest", [b"", b"PST2 a state"])
def test_packed_choices_are_read_again_whatever_follows(rest: bytes) -> None:
    packed = SOME.pack() + rest
    assert choices_in(packed) == SOME
    assert cut_choices(packed) == (SOME.pack(), rest or None)


@pytest.mark.parametrize("packed", [None, b"", b"PST2 a state", b"PCH1"])
def test_bytes_without_choices_have_none(packed: bytes | None) -> None:
    assert choices_in(packed) == NO_CHOICES
    assert cut_choices(packed) == (b"", packed)


def test_the_newer_choices_stand_before_a_state() -> None:
    older, newer = SOME._replace(version=6, items=()).pack(), SOME.pack()
    assert with_newer(older + b"state", newer) == newer + b"state"
    assert with_newer(newer + b"state", older) == newer + b"state"
    assert with_newer(b"state", None) == b"state"
    assert with_newer(None, newer) == newer


def test_hiding_twice_is_hiding_once_and_showing_takes_it_back() -> None:
    hidden = NO_CHOICES.hiding(item="a").hiding(item="b").hiding(item="a").hiding(category="c")
    assert (hidden.items, hidden.categories) == (("a", "b"), ("c",))
    shown = hidden.showing(item="a").showing(category="c").showing(item="never hidden")
    assert (shown.items, shown.categories) == (("b",), ())


def test_a_person_hides_so_much_and_no_more() -> None:
    full = Choices(tuple(map(str, range(MOST_ITEMS))), tuple(map(str, range(MOST_CATEGORIES))))
    assert full.hiding(item="0", category="0") == full
    with pytest.raises(TooManyHidden, match="500 items"):
        full.hiding(item="one more")
    with pytest.raises(TooManyHidden, match="100 categories"):
        full.hiding(category="one more")


def test_joined_choices_are_those_of_both_and_stay_within_the_bounds() -> None:
    guest = Choices(("g", "both"), ("toys",), SINCE, 9)
    assert Choices(("u", "both"), (), None, 3).joined(guest) == Choices(("g", "both", "u"), ("toys",), SINCE, 3)
    full = Choices(tuple(map(str, range(MOST_ITEMS))))
    assert full.joined(guest).items == full.items, "the user's own stay"


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "\ud800"])
def test_a_category_that_cannot_be_stored_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_category(name)

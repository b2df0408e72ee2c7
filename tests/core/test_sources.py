"""Sources: no sender's namespace is another's, whatever their ids; readers see the sender's own part."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.contract import Person, check_id, read_event
from core.errors import InvalidInput
from core.sources import (
    LONGEST_SOURCE,
    StoredSource,
    client_source,
    named_source,
    namespace_of,
    sources_of_other_release,
)

STORED = TypeAdapter(StoredSource)
VIEW = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
IDS = st.lists(st.sampled_from(["a", "user", "guest", " ", "/", "\\x1f", "␟", "é"]), min_size=1, max_size=3).map(
    "".join
)
SENDERS = st.tuples(IDS, st.none() | st.builds(Person, st.sampled_from(["user", "guest"]), IDS))


@given(one=SENDERS, other=SENDERS, named=IDS, also_named=IDS)
def test_no_two_senders_have_a_source_in_common(
    one: tuple[str, Person | None], other: tuple[str, Person | None], named: str, also_named: str
) -> None:
    assume(one != other)
    assert namespace_of(*one) + named != namespace_of(*other) + also_named


@given(sender=SENDERS, named=IDS)
def test_a_stored_source_is_valid_and_readers_see_what_the_sender_named(
    sender: tuple[str, Person | None], named: str
) -> None:
    stored = namespace_of(*sender) + named
    assert STORED.validate_python(stored) == stored and named_source(stored) == named


def test_the_longest_ids_make_a_valid_source() -> None:
    longest = namespace_of("c" * 128, Person("guest", "p" * 128)) + "s" * 128
    assert len(STORED.validate_python(longest)) == LONGEST_SOURCE


@pytest.mark.parametrize("claimed", ["other\x1fother", "\x1f", "shop\x1fuser\x1fanna\x1fshop", "a\x1f", "\x1fa"])
def test_nobody_can_name_a_source_with_a_namespace(claimed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_event({**VIEW, "source": claimed}, source="shop", received_at=None, namespace="shop\x1f")
    assert refused.value.field == "source"
    with pytest.raises(InvalidInput):
        check_id(claimed, "client_id")


def test_the_same_event_of_the_release_before_had_a_plain_source_and_the_other_way_round() -> None:
    anna, guest = Person("user", "anna"), Person("guest", "g")
    for stored in (client_source("shop"), namespace_of("shop", anna) + "shop", namespace_of("shop", guest) + "shop"):
        assert sources_of_other_release(stored, anna) == ["shop"]
    assert sources_of_other_release(namespace_of("shop", None) + "till", anna) == ["till"]
    assert sources_of_other_release("shop", anna) == [client_source("shop"), "shop\x1fuser\x1fanna\x1fshop"]

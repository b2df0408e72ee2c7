"""Pages of lists: `first` has bounds, and a page says where it ends."""

import pytest

from api.graphql.types.connections import Connection, Edge, PageInfo, check_first
from core.errors import InvalidInput


@pytest.mark.parametrize("first", [1, 20, 100])
def test_first_between_1_and_100_is_accepted(first: int) -> None:
    assert check_first(first) == first


@pytest.mark.parametrize("first", [0, -1, 101, 2**31])
def test_first_outside_its_bounds_is_refused_with_its_field(first: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_first(first)
    assert refusal.value.field == "first"


def test_a_page_has_its_nodes_and_the_cursors_of_its_ends() -> None:
    edges = [Edge(cursor=letter, node=ord(letter)) for letter in "abc"]
    page = Connection.of(edges, "before", more=True)
    assert page.nodes == [97, 98, 99]
    assert page.page_info == PageInfo(has_next_page=True, has_previous_page=True, start_cursor="a", end_cursor="c")


def test_an_empty_page_has_no_cursors() -> None:
    page = Connection[int].of([], None, more=False)
    assert (page.nodes, page.page_info) == ([], PageInfo.of([], None, more=False))
    assert page.page_info.start_cursor is None and page.page_info.end_cursor is None

"""Relay's connections: one page of a list, its nodes with their cursors, and where the page ends."""

from collections.abc import Sequence
from typing import Annotated, Generic, Self, TypeVar

import strawberry

from core.errors import InvalidInput

MAX_FIRST = 100
UNNAMED, UNNAMED_IN_SLOT = 20, 12  # elements of a list of which nobody says how many: so many it costs at most

First = Annotated[int, strawberry.argument(description=f"How many elements to return: 1 to {MAX_FIRST}.")]
PlacedFirst = Annotated[
    int | None,
    strawberry.argument(
        description=f"How many items to return: 1 to {MAX_FIRST}. Null: as many as the placement says, {UNNAMED} by"
        " default."
    ),
]
After = Annotated[
    str | None,
    strawberry.argument(description="The `endCursor` of the previous page; null or left out for the first page."),
]

NodeT = TypeVar("NodeT")


@strawberry.type(description="Where a page of a list ends, and whether there are more pages.")
class PageInfo:
    """Relay's PageInfo. Lists are paged forwards only."""

    has_next_page: bool = strawberry.field(description="Whether the list has more elements after this page.")
    has_previous_page: bool = strawberry.field(description="Whether this page was requested with `after`.")
    start_cursor: str | None = strawberry.field(
        description="The cursor of the first element of this page; null when the page is empty."
    )
    end_cursor: str | None = strawberry.field(
        description="The cursor of the last element of this page; null when the page is empty. Send it as `after` to"
        " get the next page."
    )

    @classmethod
    def of(cls, cursors: Sequence[str], after: str | None, *, more: bool) -> Self:
        """The ends of a page with these cursors that was requested with `after`."""
        return cls(
            has_next_page=more,
            has_previous_page=after is not None,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )


@strawberry.type(description="One element of a list, with its cursor.")
class Edge(Generic[NodeT]):
    """One element of a list."""

    cursor: str = strawberry.field(description="The position of this element: send it as `after` to continue here.")
    node: NodeT = strawberry.field(description="The element.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[NodeT]):
    """One page of a list. `Connection[Item]` is the GraphQL type `ItemConnection`."""

    edges: list[Edge[NodeT]] = strawberry.field(description="The elements of this page with their cursors.")
    nodes: list[NodeT] = strawberry.field(description="The elements of this page without their cursors.")
    page_info: PageInfo = strawberry.field(description="Where this page ends, and whether there are more.")

    @classmethod
    def of(cls, edges: list[Edge[NodeT]], after: str | None, *, more: bool) -> Self:
        """A page of these edges that was requested with `after`."""
        return cls(
            edges=edges,
            nodes=[edge.node for edge in edges],
            page_info=PageInfo.of([edge.cursor for edge in edges], after, more=more),
        )


def check_first(first: int) -> int:
    """`first` itself; raises InvalidInput when it is not between 1 and 100."""
    if not 1 <= first <= MAX_FIRST:
        raise InvalidInput(f"first must be between 1 and {MAX_FIRST}, not {first}.", field="first")
    return first

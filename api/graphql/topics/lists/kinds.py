"""The kinds of lists."""

from typing import Annotated

import strawberry

from engine.placements.settings import ListKind

__all__ = ["ListArgument", "ListKind"]

strawberry.enum(
    ListKind,
    description="What a list has. PERSONAL: what the person most likely wants next. NEW_FOR_YOU: of that only what they"
    " neither bought nor looked at. ON_SALE: of that only what costs less than its list price. Any other kind puts its"
    " own items first; what fills the list behind them has one of the reasons POPULAR, TRENDING, BOUGHT_BY_OTHERS, NEW"
    " and OTHER. RECENTLY_VIEWED: what the person looked at and did not buy since, newest first. BUY_AGAIN: what they"
    " bought and people buy again, by when it is due. BOUGHT_TOGETHER: what completes the items of the context, or the"
    " person's cart. ALTERNATIVES: what is like the first item of the context, of its category and at most 1.5 times"
    " as dear or as cheap. POPULAR: what most people bought lately. TRENDING: the same over 7 days.",
)
ListArgument = Annotated[
    ListKind | None, strawberry.argument(description="What to list; null: what the placement says, else PERSONAL.")
]

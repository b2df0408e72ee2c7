"""An explanation in one or two English sentences, for people who look at it in a terminal."""

from typing import Final

from core import clock
from engine.explaining.explaining import Explanation, ExplanationOutcome
from engine.explaining.removals import RemovalRule

_RULES: Final = {
    RemovalRule.UNKNOWN_ITEM: "the catalogue never had an item with this id",
    RemovalRule.WITHDRAWN: "it was removed from the catalogue",
    RemovalRule.UNAVAILABLE: "it is not available in this market",
    RemovalRule.PLACEMENT_FILTER: "it does not match the filter of the placement",
    RemovalRule.PLACEMENT_PRICE: "its price is not in the placement's price band",
    RemovalRule.PLACEMENT_REPEAT: "the person bought it or a variant of it, and the placement does not repeat that",
    RemovalRule.RULE: "a rule of the shop keeps it out",
    RemovalRule.NOT_ON_SALE: "it is not on sale: its price is not below its list price",
    RemovalRule.FILTER: "it does not match the filter",
    RemovalRule.CATEGORY: "it is not in the category of the page",
    RemovalRule.EXCLUDED: "the caller excluded it",
    RemovalRule.ON_PAGE: "the page or the cart in the context shows it already",
    RemovalRule.HIDDEN: "the person hid it, or a category of it",
    RemovalRule.DISLIKED: "the person disliked it",
    RemovalRule.IN_CART: "it is in the person's cart",
    RemovalRule.RESTING: "the person just bought it, and people do not buy it again so soon",
    RemovalRule.NOT_NEW: "the list has only what is new to the person, who bought or looked at it or a variant",
    RemovalRule.VARIANT: "another variant of it is listed, on the page, in the cart or was just bought",
}


def summary_of(found: Explanation) -> str:
    """Where the item is, and why, in words."""
    if found.removal is not None:
        until = "" if found.removal.until is None else f", until {found.removal.until:%Y-%m-%d %H:%M} UTC"
        name = "" if found.removal.rule_id is None else f" ({found.removal.rule_id})"
        return f"Not in the list: {_RULES[found.removal.rule]}{name}{until}."
    if found.outcome is ExplanationOutcome.SHOWN:
        return f"Shown at rank {found.rank}."
    if found.outcome is ExplanationOutcome.NOT_A_CANDIDATE:
        far = _how_far(found) if found.sources else "It is not what this kind of list has."
        return f"Not in the list: no source names it as a candidate. {far}"
    edge = found.edge
    if edge is None:
        return "Not in the list: it is empty."
    above = f"the last item shown is {edge.item.title or edge.item.id!r} at rank {edge.rank}"
    if found.rank is None:
        return f"Below the list, behind the longest one that can be asked for; {above}."
    return f"Below the list, at rank {found.rank}; {above}."


def _how_far(found: Explanation) -> str:
    if not found.known_to_model:
        age = ""
        if found.bundle is not None:
            age = f" It was made {(clock.now() - found.bundle.created_at).days} days ago."
        return f"The model that serves does not know the item.{age}"
    near = [
        f"{source.says.source.replace('_', ' ').lower()} has it at place {source.says.place:,} and takes"
        f" {source.says.takes}"
        for source in found.sources
        if source.says.place is not None and source.says.takes is not None
    ]
    return f"{'; '.join(near)}.".capitalize() if near else "No source has any evidence for it."

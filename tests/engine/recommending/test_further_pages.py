"""All pages of a list together are one longer list, whatever the page shows and whatever the person does meanwhile."""

from random import Random
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person, read_event
from db.cache import add_recent
from engine.placements.settings import ListKind
from engine.recommending.pages import Page
from engine.recommending.recommendations import ListRequest
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import read_rule
from tests.engine.recommending.test_list_kinds import IDS, PEOPLE, STRANGER, recommender, shop

__all__ = ["shop"]

RULES = (
    None,
    [{"kind": "BOOST", "factor": 3, "filter": {"categories": ["odd"]}}],
    [{"kind": "AT_MOST", "count": 8, "per": "CATEGORY"}, {"kind": "PIN", "itemId": "i13", "position": 6}],
)


async def page_of(shop: Gateway, person: Person, request: ListRequest) -> Page:
    return (await recommender(shop).for_person(person, request)).page


def draw_request(draw: Random, kind: ListKind | None) -> dict[str, Any]:
    """What the page shows, what the person looked at, and rules."""
    documents = draw.choice(RULES)
    rules = [Rule.of(f"r{at}", 1, read_rule(each)) for at, each in enumerate(documents or ())]
    return {
        "asked": kind,
        "context_items": draw.sample(IDS, draw.randrange(4)),
        "viewed_items": draw.sample(IDS, draw.randrange(4)),
        "among": draw.choice([None, None, draw.sample(IDS, 12)]),
        "rules": RulesInForce(rules, None) if rules else None,
    }


@pytest.mark.parametrize("kind", [ListKind.PERSONAL, ListKind.NEW_FOR_YOU, ListKind.BUY_AGAIN, ListKind.ALTERNATIVES])
async def test_pages_joined_are_one_longer_list(shop: Gateway, kind: ListKind) -> None:
    draw = Random(kind.value)  # noqa: S311
    for person in [*PEOPLE, STRANGER] * 4:
        request = draw_request(draw, kind)
        whole = await page_of(shop, person, ListRequest(24, **request))
        found, after, more = list[int](), None, True
        while more:
            page = await page_of(shop, person, ListRequest(draw.randint(1, 6), after, **request))
            found += page.numbers
            more = page.more
            after = page.cursor(shop.signer, len(page.numbers) - 1) if page.numbers else None
        assert found == whole.numbers, (person, request)


async def test_what_a_person_does_meanwhile_takes_items_out_and_moves_no_other(shop: Gateway) -> None:
    draw = Random(7)  # noqa: S311
    for at, person in enumerate(PEOPLE * 2):
        request = draw_request(draw, None) | {"among": None, "rules": None, "context_items": draw.sample(IDS, 2)}
        begin = await page_of(shop, person, ListRequest(3, **request))
        after = begin.cursor(shop.signer, 2)
        rest = await page_of(shop, person, ListRequest(24, after, **request))
        (gone,) = (item for item in shop.catalogue.items(rest.numbers[1:2]) if item)
        of = {"userId": person.id} if person.kind == "user" else {"anonymousId": person.id}
        event = {
            "type": "DISLIKE", "itemId": gone.id, "id": f"gone-{at}", "occurredAt": clock.now().isoformat(), **of,
        }  # fmt: skip
        await add_recent(shop.redis, [read_event(event, source="shop", received_at=clock.now())])
        left = await page_of(shop, person, ListRequest(24, after, **request))
        same = {number for number in rest.numbers if number == gone.number or shares_a_group(shop, number, gone.number)}
        assert left.numbers == [number for number in rest.numbers if number not in same], (person, request)


def shares_a_group(shop: Gateway, one: int, other: int) -> bool:
    items = shop.catalogue.items([one, other])
    return len({item.group_id for item in items if item and item.group_id}) == 1 and all(
        item is not None and item.group_id for item in items
    )

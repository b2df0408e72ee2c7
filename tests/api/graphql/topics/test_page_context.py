"""What a page says of the moment: the session that runs counts as the running visit, for this person alone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from db.cache import add_recent
from db.items import upsert_items
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(40)]
ANNA, BERT = Person("user", "anna"), Person("user", "bert")
LIST = """query ($context: RecommendationContext) {
  user(id: "anna") { recommendations(first: 3, context: $context) { nodes { id } } }
  visitor(anonymousId: "g1") { recommendations(first: 3, context: $context) { nodes { id } } } }"""
PAGE = """query ($requests: [PlacementRequest!]!, $context: RecommendationContext) { user(id: "anna") {
  page(requests: $requests, context: $context, distinct: false) { key recommendations { nodes { id } } } } }"""


def viewed(item: str, session: str, minutes: int, **person: str) -> Event:
    raw = {
        "type": "VIEW", "itemId": item, "sessionId": session, "id": f"{item}-{session}-{person}", **person,
        "occurredAt": (clock.now() - timedelta(minutes=minutes)).isoformat(),
    }  # fmt: skip
    return read_event(raw, source="shop", received_at=clock.now())


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Anna and a guest looked at i20 in one tab, later at i25 in another; bert looked at i30. Only visits count."""
    await upsert_items(gateway.pool, [{"id": id, "updated_at": clock.now(), "title": id} for id in IDS])
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS, weights={"visit_item": 6.0}))
    await gateway.models.load()
    for person in ({"userId": "anna"}, {"anonymousId": "g1"}):
        await add_recent(gateway.redis, [viewed("i20", "one", 50, **person), viewed("i25", "two", 5, **person)])
    await add_recent(gateway.redis, [viewed("i30", "of-bert", 5, userId="bert")])
    return gateway


def first_viewed(nodes: list[dict[str, str]]) -> str | None:
    """The first item that somebody looked at; their neighbours take turns with them."""
    return next((node["id"] for node in nodes if node["id"] in ("i20", "i25", "i30")), None)


Firsts = Callable[..., Any]


@pytest.fixture
def firsts(ask: Ask, shop: Gateway) -> Firsts:
    """What was looked at and is first in Anna's list and in the guest's, on a page with this context."""

    async def read(**context: Any) -> tuple[str | None, str | None]:
        answer = await ask(LIST, {"context": context})
        assert answer.codes == [], answer.messages
        anna, guest = (first_viewed(answer.data[who]["recommendations"]["nodes"]) for who in ("user", "visitor"))
        return anna, guest

    return read


async def test_the_session_of_the_page_is_the_running_visit(firsts: Firsts) -> None:
    for _ in range(2):  # from what is kept, too
        assert await firsts() == ("i25", "i25"), "the newest events say which visit runs"
        assert await firsts(sessionId="two") == ("i25", "i25")
        assert await firsts(sessionId="one") == ("i20", "i20"), "after a pause of 50 minutes"
        assert await firsts(sessionId="three") == (None, None), "its visit has only begun"


async def test_a_session_of_another_person_says_nothing(firsts: Firsts) -> None:
    assert await firsts(sessionId="of-bert") == (None, None)


async def test_a_list_that_is_not_personalized_has_no_visit(firsts: Firsts) -> None:
    assert await firsts(sessionId="one", personalize=False) == (None, None)


async def test_each_slot_of_a_page_has_its_session(ask: Ask, shop: Gateway) -> None:
    contexts = {"of-page": None, "own": {"sessionId": "one"}, "viewed": {"recentItemIds": ["i01"]}}
    slots = [{"key": key, "placement": key, "first": 4, "context": context} for key, context in contexts.items()]
    for _ in range(2):
        answer = await ask(PAGE, {"requests": slots, "context": {"sessionId": "two"}})
        assert answer.codes == [], answer.messages
        first = {slot["key"]: first_viewed(slot["recommendations"]["nodes"]) for slot in answer.data["user"]["page"]}
        assert first == {"of-page": "i25", "own": "i20", "viewed": "i25"}, "what a slot leaves out is as in the page's"


async def test_a_session_id_is_one_that_events_can_have(ask: Ask, shop: Gateway) -> None:
    for id in ("", "s" * 129, "a\nb"):
        answer = await ask(LIST, {"context": {"sessionId": id}})
        assert answer.codes and set(answer.codes) == {"BAD_USER_INPUT"}, id
    assert (await ask(LIST, {"context": {"sessionId": "s" * 128}})).codes == []

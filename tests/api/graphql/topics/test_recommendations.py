"""Lists over GraphQL: filters before ranking, pages without repeats, reasons with events, `degraded`."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from api.graphql.topics.lists.edges import ReasonCode
from core import clock
from core.contract import Event, Person, read_event
from core.uploads import Offer
from db.cache import add_recent
from db.events import insert_events
from db.items import remove_items, upsert_items
from ml.ranked import REASONS
from tests.fixtures.gateway import Ask, MakeBundle, Serve

ANNA = Person("user", "anna")
IDS = [f"i{number:02}" for number in range(40)]
LIST = """query ($id: ID! = "anna", $first: Int! = 5, $after: String, $context: RecommendationContext,
  $filter: ItemFilter, $exclude: [ID!], $among: [ID!], $placement: String! = "home", $preview: Boolean! = false) {
  user(id: $id) { known recommendations(first: $first, after: $after, context: $context, filter: $filter,
    exclude: $exclude, among: $among, placement: $placement, preview: $preview) {
    impressionId placement modelVersion asOf degraded nodes { id }
    edges { cursor impressionId rank score probability node { id } reason { code text item { id } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }"""


def event(type: str, item: str, *, days: float = 10, **fields: Any) -> Event:
    now = clock.now()
    raw = {
        "type": type, "itemId": item, "userId": "anna", "id": f"{type}-{item}-{days}",
        "occurredAt": (now - timedelta(days=days)).isoformat(), **fields,
    }  # fmt: skip
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Forty items: every third in c0, the last three unavailable, i10 and i11 variants of one group."""
    now = clock.now()
    await upsert_items(
        gateway.pool,
        [
            {
                "id": id,
                "updated_at": now - timedelta(days=1),
                "title": f"Item {number}",
                "categories": ["all", f"c{number % 3}"],
                "group_id": "g" if number in (10, 11) else None,
                "offers": [Offer(None, None, None, None, available=number < 37)],
            }
            for number, id in enumerate(IDS)
        ],
    )
    await gateway.catalogue.refresh()
    await insert_events(
        gateway.pool,
        [
            event("PURCHASE", id, userId=f"u{who}", days=2 + at / 10)
            for at, id in enumerate(IDS[:20])
            for who in range(20 - at)
        ],
    )
    return gateway


@pytest.fixture
async def trained(shop: Gateway, make_bundle: MakeBundle, serving: Serve) -> str:
    id = await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    return id


async def listed(ask: Ask, *, person: Person | None = None, **variables: Any) -> dict[str, Any]:
    answer = await ask(LIST, variables, person=person)
    assert answer.codes == [], answer.messages
    found: dict[str, Any] = answer.data["user"]["recommendations"]
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [node["id"] for node in found["nodes"]]


def test_the_reason_codes_of_the_schema_are_those_of_the_ranking() -> None:
    assert tuple(code.value for code in ReasonCode) == REASONS


async def test_without_a_model_the_list_is_the_popular_one_and_degraded(ask: Ask, shop: Gateway) -> None:
    await shop.models.load()
    found = await listed(ask)
    assert ids(found) == IDS[:5]
    assert found["degraded"] == ["UNKNOWN_PERSON", "NO_MODEL"]
    assert found["modelVersion"] is None
    assert {edge["reason"]["code"] for edge in found["edges"]} == {"POPULAR"}


async def test_an_empty_shop_gives_an_empty_list(ask: Ask, gateway: Gateway) -> None:
    await gateway.models.load()
    found = await listed(ask)
    assert (found["nodes"], found["edges"]) == ([], [])
    assert found["pageInfo"] == {
        "hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None,
    }  # fmt: skip


async def test_a_shop_of_one_item_lists_it(ask: Ask, gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> None:
    await upsert_items(gateway.pool, [{"id": "only", "updated_at": clock.now()}])
    await gateway.catalogue.refresh()
    await gateway.models.load()
    assert ids(await listed(ask)) == ["only"]
    await serving(gateway.pool, make_bundle(gateway.catalogue, ["only"]))
    await gateway.models.load()
    found = await listed(ask, first=100)
    assert ids(found) == ["only"]
    assert not found["pageInfo"]["hasNextPage"]
    similar = await ask('query { item(id: "only") { similar { nodes { id } } } }')
    assert (similar.data["item"]["similar"]["nodes"], similar.codes) == ([], [])


async def test_a_list_has_its_model_placement_and_time(ask: Ask, shop: Gateway, trained: str) -> None:
    await insert_events(shop.pool, [event("PURCHASE", "i30")])
    found = await listed(ask, placement="checkout")
    assert found["modelVersion"] == trained
    assert found["placement"] == "checkout"
    assert found["degraded"] == []
    assert found["asOf"].endswith("Z")
    assert [edge["rank"] for edge in found["edges"]] == [1, 2, 3, 4, 5]
    scores = [edge["score"] for edge in found["edges"]]
    assert scores == sorted(scores, reverse=True)
    assert [edge["probability"] for edge in found["edges"]] == [None] * 5, "this bundle is not calibrated"
    assert {edge["impressionId"] for edge in found["edges"]} == {found["impressionId"]}
    assert shop.signer.open("impression", found["impressionId"])


async def test_each_list_has_its_own_impression_id_and_a_preview_has_none(ask: Ask, trained: str) -> None:
    assert (await listed(ask))["impressionId"] != (await listed(ask))["impressionId"]
    preview = await listed(ask, preview=True)
    assert preview["impressionId"] is None
    assert {edge["impressionId"] for edge in preview["edges"]} == {None}


async def test_an_event_changes_the_next_list(ask: Ask, shop: Gateway, trained: str) -> None:
    await insert_events(shop.pool, [event("PURCHASE", "i30")])
    assert {"i30", "i10"} < set(ids(await listed(ask, first=40)))
    await add_recent(shop.redis, [event("PURCHASE", "i30", days=0), event("PURCHASE", "i10", days=0)])
    assert not {"i30", "i10", "i11"} & set(ids(await listed(ask, first=40))), "nor a variant of what was bought"


async def test_a_bought_item_is_a_reason_with_its_name_and_its_events(ask: Ask, shop: Gateway, trained: str) -> None:
    await insert_events(shop.pool, [event("PURCHASE", "i30", days=day) for day in (5, 9, 14, 20)])
    query = """query { user(id: "anna") { recommendations(first: 40) { edges { node { id }
      reason { code text item { id } events { type itemId occurredAt } } } } } }"""
    edges = (await ask(query)).data["user"]["recommendations"]["edges"]
    own = next(edge for edge in edges if edge["node"]["id"] == "i30")["reason"]
    assert own["code"] in {"BOUGHT_BEFORE", "DUE_AGAIN"}
    assert "Item 30" in own["text"]
    assert own["item"] == {"id": "i30"}
    assert [found["itemId"] for found in own["events"]] == ["i30"] * 3
    assert [found["occurredAt"] for found in own["events"]] == sorted(
        (found["occurredAt"] for found in own["events"]), reverse=True
    )
    near = next(edge for edge in edges if edge["node"]["id"] == "i31")["reason"]
    assert (near["code"], near["item"]["id"], len(near["events"])) == ("SIMILAR_TO", "i30", 3)
    assert "Item 30" in near["text"]


async def test_the_events_of_all_reasons_are_one_query_and_only_on_demand(
    ask: Ask, shop: Gateway, trained: str
) -> None:
    await insert_events(shop.pool, [event("PURCHASE", "i30")])
    await listed(ask)  # the base is warm from here on
    plain = 'query { user(id: "anna") { known recommendations { nodes { id title } edges { reason { text } } } } }'
    assert await queries(shop, ask, plain) == []
    full = 'query { user(id: "anna") { recommendations(first: 30) { edges { reason { events { id } } } } } }'
    assert len(await queries(shop, ask, full)) == 1


async def queries(shop: Gateway, ask: Ask, query: str) -> list[str]:
    """The statements sent to Postgres while `query` is answered."""
    said: list[str] = []

    def note(record: Any) -> None:
        said.append(record.query)

    pool = shop.pool
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(pool.acquire()) for _ in range(pool.get_max_size())]
        for connection in connections:
            connection.raw._con.add_query_logger(note)
    try:
        assert (await ask(query)).codes == []
    finally:
        for holder in pool._holders:
            if holder._con is not None:
                holder._con.remove_query_logger(note)
    return said


async def all_pages(ask: Ask, between: Callable[[], Awaitable[None]] | None = None, **variables: Any) -> list[str]:
    found, after, rank = [], None, 0
    while True:
        page = await listed(ask, after=after, **variables)
        assert [edge["rank"] for edge in page["edges"]] == list(range(rank + 1, rank + 1 + len(page["edges"])))
        rank += len(page["edges"])
        found += ids(page)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        if between is not None:
            await between()


async def test_pages_have_every_item_once(ask: Ask, trained: str) -> None:
    found = await all_pages(ask, first=7)
    assert len(found) == len(set(found)) == 36  # 40, three out of stock, two variants of one
    assert set(IDS[37:]).isdisjoint(found)
    assert len({"i10", "i11"}.intersection(found)) == 1


async def test_no_item_is_repeated_when_events_arrive_between_pages(ask: Ask, shop: Gateway, trained: str) -> None:
    looked_at = iter(reversed(IDS[:37]))

    async def look() -> None:
        await add_recent(shop.redis, [event("VIEW", next(looked_at), days=0) for _ in range(3)])

    found = await all_pages(ask, look, first=5)
    assert len(found) == len(set(found)) == 36


async def test_a_cursor_pins_the_model_and_the_time(
    ask: Ask, shop: Gateway, trained: str, make_bundle: MakeBundle, serving: Serve
) -> None:
    first = await listed(ask)
    newer = await serving(shop.pool, make_bundle(shop.catalogue, IDS, seed=9))
    await shop.models.load()
    second = await listed(ask, after=first["pageInfo"]["endCursor"])
    assert (second["modelVersion"], second["asOf"]) == (trained, first["asOf"])
    assert second["pageInfo"]["hasPreviousPage"]
    assert (await listed(ask))["modelVersion"] == newer


async def test_a_cursor_expires_after_ten_minutes(ask: Ask, trained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after = (await listed(ask))["pageInfo"]["endCursor"]
    later = clock.now() + timedelta(minutes=10, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    answer = await ask(LIST, {"after": after})
    assert answer.codes == ["BAD_USER_INPUT"]
    assert "expired" in answer.messages[0]


async def test_a_cursor_is_valid_for_its_own_list_only(ask: Ask, trained: str) -> None:
    after = (await listed(ask))["pageInfo"]["endCursor"]
    damaged = ("A" if after[0] != "A" else "B") + after[1:]
    for variables in ({"after": damaged}, {"after": ""}, {"after": "💥"}, {"id": "bert", "after": after}):
        assert (await ask(LIST, variables)).codes == ["BAD_USER_INPUT"]


async def test_every_edge_has_a_cursor_of_its_own(ask: Ask, trained: str) -> None:
    whole = await listed(ask, first=10)
    rest = await listed(ask, first=5, after=whole["edges"][4]["cursor"])
    assert ids(rest) == ids(whole)[5:]


@pytest.mark.parametrize("bundled", [True, False])
async def test_a_filtered_list_is_short_only_when_few_items_match(
    ask: Ask, shop: Gateway, make_bundle: MakeBundle, serving: Serve, bundled: bool
) -> None:
    if bundled:
        await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    expected = {id for number, id in enumerate(IDS[:37]) if number % 3 == 2} - {"i11"} | {"i11"}
    found = await listed(ask, first=20, filter={"categories": ["c2"]})
    assert set(ids(found)) == expected
    assert len(ids(await listed(ask, first=5, filter={"categories": ["c2"]}))) == 5


async def test_items_excluded_shown_or_in_the_cart_are_left_out(ask: Ask, trained: str) -> None:
    hidden: dict[str, Any] = {
        "exclude": ["i00"],
        "context": {"itemIds": ["i01"], "cartItemIds": ["i02"], "recentItemIds": ["i03"]},
    }
    found = set(ids(await listed(ask, first=40, **hidden)))
    assert found.isdisjoint({"i00", "i01", "i02"})
    assert "i03" in found


async def test_the_neighbour_of_an_item_on_the_page_ranks_first(ask: Ask, trained: str) -> None:
    assert ids(await listed(ask, first=1, context={"itemIds": ["i25"]})) == ["i26"]


async def test_among_and_category_narrow_a_list(ask: Ask, trained: str) -> None:
    assert set(ids(await listed(ask, among=["i04", "i31", "i39", "nothing"]))) == {"i04", "i31"}
    assert ids(await listed(ask, among=[])) == []
    found = ids(await listed(ask, first=40, context={"category": "c1"}))
    assert found
    assert all(int(id[1:]) % 3 == 1 for id in found)


async def test_a_removed_or_unavailable_item_is_in_no_list(ask: Ask, shop: Gateway, trained: str) -> None:
    now = clock.now()
    await remove_items(shop.pool, ["i00"])
    await upsert_items(
        shop.pool, [{"id": "i01", "updated_at": now, "offers": [Offer(None, None, None, None, available=False)]}]
    )
    await shop.catalogue.refresh()
    assert {"i00", "i01"}.isdisjoint(ids(await listed(ask, first=40)))
    trends = await ask("query { trending { nodes { id } } }")
    assert {"i00", "i01"}.isdisjoint(ids(trends.data["trending"]))
    similar = await ask('query { item(id: "i39") { similar(first: 40) { nodes { id } } } }')
    assert {"i00", "i01", "i39"}.isdisjoint(ids(similar.data["item"]["similar"]))


async def test_a_list_without_personalization_uses_nothing_about_the_person(
    ask: Ask, shop: Gateway, trained: str
) -> None:
    await insert_events(shop.pool, [event("PURCHASE", "i30")])
    plain = await listed(ask, context={"personalize": False})
    stranger = await listed(ask, id="nobody", context={"personalize": None})
    assert ids(plain) == ids(stranger)
    assert plain["degraded"] == []


@pytest.mark.parametrize(
    "variables",
    [{"first": 0}, {"first": 101}, {"placement": ""}, {"placement": "x" * 65}, {"context": {"itemIds": ["x"] * 101}}],
)
async def test_arguments_out_of_bounds_are_bad_input(ask: Ask, trained: str, variables: dict[str, Any]) -> None:
    answer = await ask(LIST, variables)
    assert (answer.data["user"]["recommendations"], answer.codes) == (None, ["BAD_USER_INPUT"])


@pytest.mark.parametrize("variables", [{"exclude": ["x"] * 401}, {"among": ["x"] * 501}])
async def test_lists_that_are_too_long_are_bad_input(ask: Ask, trained: str, variables: dict[str, Any]) -> None:
    answer = await ask(LIST, variables)
    assert (answer.data, answer.codes) == (None, ["BAD_USER_INPUT"])


async def test_unknown_ids_in_arguments_are_ignored(ask: Ask, trained: str) -> None:
    odd = ["\0", "🥛", "x" * 10_000, ""]
    found = await listed(ask, exclude=odd, context={"itemIds": odd, "category": None})
    assert len(ids(found)) == 5
    assert ids(await listed(ask, among=odd)) == []


SIMILAR = """query ($id: ID!, $first: Int! = 5, $after: String, $filter: ItemFilter) { item(id: $id) {
  similar(first: $first, after: $after, filter: $filter) { degraded modelVersion placement nodes { id }
  edges { reason { code item { id } } } pageInfo { hasNextPage endCursor } } } }"""


async def test_similar_items_are_the_nearest(ask: Ask, trained: str) -> None:
    found = (await ask(SIMILAR, {"id": "i20"})).data["item"]["similar"]
    assert ids(found)[0] == "i21"
    assert found["edges"][0]["reason"] == {"code": "SIMILAR_TO", "item": {"id": "i20"}}
    assert (found["degraded"], found["modelVersion"], found["placement"]) == ([], trained, "similar")
    rest = (await ask(SIMILAR, {"id": "i20", "first": 40, "after": found["pageInfo"]["endCursor"]})).data["item"][
        "similar"
    ]
    assert set(ids(rest)).isdisjoint([*ids(found), "i20"])
    assert len(ids(rest)) + len(ids(found)) == 35


async def test_without_a_model_similar_items_share_the_category(ask: Ask, shop: Gateway) -> None:
    await shop.models.load()
    found = (await ask(SIMILAR, {"id": "i20"})).data["item"]["similar"]
    assert found["degraded"] == ["NO_MODEL"]
    assert ids(found) == ["i02", "i05", "i08", "i11", "i14"]


async def test_a_variant_is_not_similar_to_a_variant_of_the_same_group(ask: Ask, trained: str) -> None:
    found = (await ask(SIMILAR, {"id": "i10", "first": 40})).data["item"]["similar"]
    assert {"i10", "i11"}.isdisjoint(ids(found))


TRENDING = """query ($window: Duration! = "P7D", $first: Int! = 5, $after: String, $filter: ItemFilter) {
  trending(window: $window, first: $first, after: $after, filter: $filter) { placement modelVersion nodes { id }
  edges { score reason { code text } } pageInfo { hasNextPage endCursor } } }"""


async def test_trends_are_what_most_people_bought(ask: Ask, shop: Gateway) -> None:
    found = (await ask(TRENDING)).data["trending"]
    assert ids(found) == IDS[:5]
    assert found["edges"][0]["score"] == 1
    assert found["edges"][0]["reason"] == {"code": "TRENDING", "text": "Many people are buying Item 0."}
    rest = (await ask(TRENDING, {"first": 50, "after": found["pageInfo"]["endCursor"]})).data["trending"]
    assert ids(rest) == [id for id in IDS[5:20] if id != "i11"]
    assert not rest["pageInfo"]["hasNextPage"]


async def test_trends_follow_filter_and_window(ask: Ask, shop: Gateway) -> None:
    assert ids((await ask(TRENDING, {"filter": {"categories": ["c1"]}})).data["trending"]) == [
        "i01", "i04", "i07", "i10", "i13",
    ]  # fmt: skip
    assert ids((await ask(TRENDING, {"window": "PT1H"})).data["trending"]) == []
    for window in ("PT1M", "P3650D"):
        assert (await ask(TRENDING, {"window": window})).codes == ["BAD_USER_INPUT"]

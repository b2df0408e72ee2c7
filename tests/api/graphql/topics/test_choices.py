"""What people choose for their own lists: what they hid is in none of them, at any gateway, until it is shown."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from core.turns import OneAtATime
from db.cache import add_recent, connect_redis, person_keys
from db.events import StateEvent, insert_events, state_events
from db.items import upsert_items
from engine.many_lists.batch import BatchRecommender, BatchRequest, UserList
from engine.placements.changing import change_placement
from engine.placements.settings import ListKind
from engine.recommending import people
from engine.recommending.people import PeopleReader
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import Trends
from tests.fixtures.gateway import Ask, MakeBundle, Serve, asking

ANNA, GUEST = Person("user", "anna"), Person("guest", "g-1")
IDS = [f"i{number:02}" for number in range(24)]
ARGUMENTS = "first: 40, context: $context"
KINDS = " ".join(
    f'{kind.lower()}: recommendations(placement: "{place}", list: {kind}, {ARGUMENTS}) {{ nodes {{ id }} }}'
    for place, kind in enumerate(ListKind)
)
SLOTS = ", ".join(f'{{key: "{kind}", placement: "home", list: {kind}, {ARGUMENTS}}}' for kind in ListKind)
EVERYWHERE = f"""query ($context: RecommendationContext, $stranger: RecommendationContext, $among: [ID!]) {{ me {{
  {KINDS}
  given: recommendations(first: 40, among: $among) {{ nodes {{ id }} }}
  stranger: recommendations(placement: "x", first: 40, context: $stranger) {{ nodes {{ id }} }}
  preview: recommendations(placement: "y", first: 40, preview: true) {{ nodes {{ id }} }} }} }}"""
PAGE = f"""query ($context: RecommendationContext) {{ me {{ page(requests: [{SLOTS}], distinct: false) {{
  recommendations {{ nodes {{ id }} }} }} }} }}"""
CHOSEN = "{ user { id } userErrors { code field message } }"
HIDDEN = "query { me { hidden { itemIds categories items { id } } paused } }"


def event(type: str, item: str, *, days: float = 10, **fields: Any) -> Event:
    now = clock.now()
    when = (now - timedelta(days=days)).isoformat()
    raw = {"type": type, "itemId": item, "userId": "anna", "id": f"{type}-{item}-{days}", "occurredAt": when, **fields}
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """24 items, every third in c0, i10 and i11 variants of one group; others buy them, and Anna bought and saw some."""
    now = clock.now()
    items: list[Any] = [
        {"id": id, "updated_at": now, "title": id.upper(), "categories": ["all", f"c{number % 3}"]}
        | {"group_id": "g" if number in (10, 11) else None}
        for number, id in enumerate(IDS)
    ]
    await upsert_items(gateway.pool, items)
    await gateway.catalogue.refresh()
    bought = [event("PURCHASE", id, userId=f"u{at}", days=2) for at, id in enumerate(IDS)]
    bought += [event("PURCHASE", id, days=days) for id in ("i02", "i03", "i10") for days in (30, 20)]
    await insert_events(gateway.pool, [*bought, event("VIEW", "i05", days=1), event("VIEW", "i04", days=1)])
    return gateway


@pytest.fixture
async def trained(shop: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    return shop


@pytest.fixture
async def ask_second(trained: Gateway, tmp_path: Path) -> AsyncIterator[Ask]:
    """Another process: it has caches of its own."""
    trends = Trends(trained.shares.expensive, timedelta(days=28), empty_age=0.02)
    models = ServingModels(trained.pool, tmp_path / "bundles", trained.catalogue, poll=0.02, trends=trends)
    await models.load()
    reader = PeopleReader(trained.shares.people, trained.redis, trained.catalogue)
    async with asking(replace(trained, people=reader, models=models)) as ask:
        yield ask


async def chosen(ask: Ask, change: str, person: Person | None = ANNA, **more: Any) -> list[str]:
    """Make a choice; returns the codes of what was refused."""
    answer = await ask(f"mutation {{ {change} {CHOSEN} }}", person=person, **more)
    assert answer.codes == [], answer.messages
    (payload,) = answer.data.values()
    assert (payload["user"] is None) == bool(payload["userErrors"])
    return [error["code"] for error in payload["userErrors"]]


async def listed(ask: Ask, person: Person = ANNA) -> dict[str, list[str]]:
    """The ids in lists of every kind, alone and in a page, of items that the shop chose, and not personalized."""
    variables = {"context": {"itemIds": ["i07"]}, "stranger": {"personalize": False}, "among": IDS}
    lists, page = [await ask(query, variables, person=person) for query in (EVERYWHERE, PAGE)]
    assert (lists.codes, page.codes) == ([], []), [*lists.messages, *page.messages]
    found = {name: one["nodes"] for name, one in lists.data["me"].items()}
    slots = [slot["recommendations"]["nodes"] for slot in page.data["me"]["page"]]
    found |= {f"slot {kind}": slot for kind, slot in zip(ListKind, slots, strict=True)}
    return {name: [node["id"] for node in nodes] for name, nodes in found.items()}


async def all_listed(ask: Ask, person: Person = ANNA) -> set[str]:
    """The ids in any of these lists."""
    return {id for ids in (await listed(ask, person)).values() for id in ids}


async def in_batch(gateway: Gateway, users: Sequence[str] = ("anna",)) -> list[list[str]]:
    """The ids in the lists of a batch or of a file."""

    async def groups() -> AsyncIterator[Sequence[str]]:
        yield users

    maker = BatchRecommender(
        gateway.catalogue, gateway.models, gateway.signer, gateway.people, gateway.shares.expensive.of("tests"),
        OneAtATime(gateway.turns, "tests"), gateway.placements, gateway.rules,
    )  # fmt: skip
    made = [one async for one in maker.lists(groups(), BatchRequest.of("home", 40, None, None))]
    return [[item.id for item in one.items] for one in made if isinstance(one, UserList)]


async def pin(ask: Ask, item: str) -> None:
    """Let a rule of the shop put an item first in every list."""
    pinned = f'upsertRule(input: {{id: "first", kind: PIN, itemId: "{item}", position: 1}})'
    assert (await ask(f"mutation {{ {pinned} {{ rule {{ id }} }} }}")).codes == []


@pytest.mark.parametrize("model", [True, False])
async def test_a_hidden_item_and_its_variants_are_in_no_list(
    ask: Ask, shop: Gateway, make_bundle: MakeBundle, serving: Serve, model: bool
) -> None:
    if model:
        await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    await pin(ask, "i03")
    await shop.rules.refresh()
    before = await listed(ask)
    assert {"i03", "i10"} <= set(before["given"]) & set(before["stranger"])
    assert before["popular"][0] == before["slot POPULAR"][0] == "i03"
    assert "i03" in (await in_batch(shop))[0]
    assert await chosen(ask, 'hideItem(itemId: "i03")') == []
    assert await chosen(ask, 'hideItem(itemId: "i11")') == []
    lists = await listed(ask)
    assert [name for name, ids in lists.items() if {"i03", "i11"} & set(ids)] == []
    assert [name for name, ids in lists.items() if "i10" in ids and name != "given"] == []
    assert not {"i03", "i10", "i11"} & set((await in_batch(shop))[0])
    assert lists["popular"] and len(lists["given"]) == len(before["given"]) - 2
    assert await chosen(ask, 'showItem(itemId: "i03")') == []
    assert await chosen(ask, 'showItem(itemId: "i11")') == []
    assert await listed(ask) == before


async def test_a_hidden_category_is_in_no_list(ask: Ask, trained: Gateway) -> None:
    await pin(ask, "i03")
    await trained.rules.refresh()
    of_category = set(IDS[::3])
    before = await listed(ask)
    assert of_category <= set(before["given"])
    assert await chosen(ask, 'hideCategory(category: "c0")') == []
    lists = await listed(ask)
    assert [name for name, ids in lists.items() if of_category & set(ids)] == []
    assert not of_category & set((await in_batch(trained))[0])
    assert set(before["personal"]) - of_category == set(lists["personal"])
    assert await chosen(ask, 'showCategory(category: "c0")') == []
    assert await listed(ask) == before


async def test_a_hidden_item_gets_no_place_by_chance_either(ask: Ask, trained: Gateway) -> None:
    new: list[Any] = [{"id": f"new-{number}", "updated_at": clock.now()} for number in range(8)]
    await upsert_items(trained.pool, new)
    await trained.catalogue.refresh()
    await change_placement(trained.pool, "home", {"explore": 0.3, "diversity": 0.5}, "tests")
    await trained.placements.refresh()
    query = "query { me { recommendations(first: 10) { edges { node { id } reason { code } } } } }"
    edges = (await ask(query, person=ANNA)).data["me"]["recommendations"]["edges"]
    by_chance = [edge["node"]["id"] for edge in edges if edge["reason"]["code"] == "EXPLORATION"]
    assert len(by_chance) == 3
    for id in by_chance:
        await chosen(ask, f'hideItem(itemId: "{id}")')
    assert not set(by_chance) & await all_listed(ask)


async def test_what_is_hidden_stays_so_whatever_the_person_does_and_counts_like_a_dislike(
    ask: Ask, trained: Gateway
) -> None:
    await chosen(ask, 'hideItem(itemId: "i05")')
    await add_recent(trained.redis, [event("LIKE", "i05", days=0), event("PURCHASE", "i05", days=0)])
    assert "i05" not in await all_listed(ask)
    reasons = "edges { reason { item { id } } }"
    answer = await ask(f"query {{ me {{ recommendations(first: 40) {{ {reasons} }} }} }}", person=ANNA)
    named = {edge["reason"]["item"]["id"] for edge in answer.data["me"]["recommendations"]["edges"]}
    assert "i05" not in named
    explained = await ask('query { explain(userId: "anna", itemId: "i05") { outcome rule summary } }')
    assert explained.data["explain"]["rule"] == "HIDDEN"


async def test_another_gateway_follows_at_once_and_its_kept_lists_too(
    ask: Ask, ask_second: Ask, trained: Gateway
) -> None:
    assert "i03" in await all_listed(ask_second)
    assert "i03" in await all_listed(ask_second), "now they are kept"
    await chosen(ask, 'hideItem(itemId: "i03")')
    assert "i03" not in await all_listed(ask_second)
    assert (await ask_second(HIDDEN, person=ANNA)).data["me"] == {
        "hidden": {"itemIds": ["i03"], "categories": [], "items": [{"id": "i03"}]}, "paused": False,
    }  # fmt: skip


async def test_choices_survive_an_empty_redis_and_one_that_is_away(ask: Ask, ask_second: Ask, trained: Gateway) -> None:
    await chosen(ask, 'hideItem(itemId: "i03")')
    await trained.redis.flushall()
    assert "i03" not in await all_listed(ask)
    await trained.redis.delete(person_keys(ANNA).choices)
    assert "i03" not in await all_listed(ask_second), "the base has them too"
    async with connect_redis("redis://127.0.0.1:1", 0.1) as away:
        reader = PeopleReader(trained.shares.people, away, trained.catalogue)
        async with asking(replace(trained, people=reader, redis=away)) as ask_alone:
            assert "i03" not in await all_listed(ask_alone)


async def test_a_choice_holds_when_redis_evicts_its_key_alone(ask: Ask, trained: Gateway) -> None:
    await listed(ask)  # now there is a base without any choice
    await chosen(ask, 'hideItem(itemId: "i05")')
    assert "i05" not in await all_listed(ask)
    await trained.redis.delete(person_keys(ANNA).choices)
    trained.people.forget([ANNA])
    assert "i05" not in await all_listed(ask)


async def test_a_choice_that_redis_missed_counts_when_the_base_is_dropped(
    ask: Ask, trained: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "i03" in await all_listed(ask)
    missed: list[Person] = []
    monkeypatch.setattr(Gateway, "drop_base_later", lambda _, person: missed.append(person))
    async with (
        connect_redis("redis://127.0.0.1:1", 0.1) as away,
        asking(replace(trained, redis=away)) as ask_without,
    ):
        assert await chosen(ask_without, 'hideItem(itemId: "i03")') == []
    assert missed == [ANNA]
    await trained.redis.delete(person_keys(ANNA).base)
    assert "i03" not in await all_listed(ask)


async def test_an_older_base_that_is_written_late_does_not_bring_an_item_back(ask: Ask, trained: Gateway) -> None:
    assert "i03" in await all_listed(ask)
    base: Any = await trained.redis.get(person_keys(ANNA).base)
    await chosen(ask, 'hideItem(itemId: "i03")')
    await trained.redis.set(person_keys(ANNA).base, base)
    assert "i03" not in await all_listed(ask)


async def test_a_choice_counts_for_lists_whose_base_is_being_built_meanwhile(
    ask: Ask, ask_second: Ask, trained: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, may_go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Any, person: Person) -> list[StateEvent]:
        reading.set()
        await may_go_on.wait()
        return await state_events(connection, person)

    monkeypatch.setattr(people, "state_events", slow)
    before = asyncio.create_task(all_listed(ask))
    await reading.wait()
    await chosen(ask_second, 'hideItem(itemId: "i03")')
    joining = asyncio.create_task(all_listed(ask))
    await asyncio.sleep(0)
    may_go_on.set()
    await before
    assert "i03" not in await joining
    assert "i03" not in await all_listed(ask) | await all_listed(ask_second)


@pytest.mark.parametrize("person", [ANNA, GUEST])
async def test_choices_made_at_the_same_time_are_all_kept(
    ask: Ask, ask_second: Ask, trained: Gateway, person: Person
) -> None:
    changes = [f'hideItem(itemId: "{id}")' for id in IDS[:8]] + [f'hideCategory(category: "{id}")' for id in IDS[:4]]
    made = [chosen([ask, ask_second][at % 2], change, person) for at, change in enumerate(changes)]
    assert await asyncio.gather(*made) == [[]] * len(changes)
    for either in (ask, ask_second):
        hidden = (await either(HIDDEN, person=person)).data["me"]["hidden"]
        assert (sorted(hidden["itemIds"]), sorted(hidden["categories"])) == (IDS[:8], IDS[:4])


async def test_an_item_that_the_catalogue_gets_later_is_hidden_from_its_first_moment(
    ask: Ask, trained: Gateway
) -> None:
    await chosen(ask, 'hideItem(itemId: "new")')
    assert (await ask(HIDDEN, person=ANNA)).data["me"]["hidden"] == {"itemIds": ["new"], "categories": [], "items": []}
    await all_listed(ask)  # the state is kept
    await upsert_items(trained.pool, [{"id": "new", "updated_at": clock.now(), "categories": ["all"]}])
    await trained.catalogue.refresh()
    assert "new" not in await all_listed(ask)
    await chosen(ask, 'showItem(itemId: "new")')
    assert "new" in await all_listed(ask)


async def test_a_guest_has_choices_that_join_those_of_the_user(ask: Ask, trained: Gateway) -> None:
    await chosen(ask, 'hideItem(itemId: "i03")', GUEST)
    await chosen(ask, 'hideCategory(category: "c1")', GUEST)
    await chosen(ask, 'hideItem(itemId: "i04")')
    assert "i03" not in await all_listed(ask, GUEST)
    assert {"i03", "i07"} <= await all_listed(ask)
    joined = 'mutation { identify(input: {userId: "anna", anonymousId: "g-1"}) { userErrors { code } } }'
    assert (await ask(joined)).data["identify"]["userErrors"] == []
    assert not ({"i03", "i04"} | set(IDS[1::3])) & await all_listed(ask)
    hidden = (await ask(HIDDEN, person=ANNA)).data["me"]["hidden"]
    assert (sorted(hidden["itemIds"]), hidden["categories"]) == (["i03", "i04"], ["c1"])


async def test_merged_users_have_the_choices_of_both(ask: Ask, trained: Gateway) -> None:
    old = Person("user", "old")
    await chosen(ask, 'hideItem(itemId: "i03")', old)
    await chosen(ask, 'hideItem(itemId: "i04")')
    merged = 'mutation { mergeUsers(input: {fromId: "old", intoId: "anna"}) { userErrors { code } } }'
    assert (await ask(merged)).data["mergeUsers"]["userErrors"] == []
    assert not {"i03", "i04"} & await all_listed(ask)
    await chosen(ask, 'hideItem(itemId: "i06")', old)
    assert not {"i03", "i04", "i06"} & (await all_listed(ask) | await all_listed(ask, old)), "both ids are one person"


async def test_a_paused_person_has_the_lists_of_a_stranger_and_no_forecast(ask: Ask, trained: Gateway) -> None:
    lists = "recommendations(first: 40) { degraded nodes { id } }"
    private = "affinities { key } rfm { frequency } nextPurchase { probability } churn { probability } paused"
    page = 'page(requests: [{key: "a", placement: "b"}]) { recommendations { degraded } }'
    query = f"query {{ me {{ {lists} {private} {page} }} }}"
    before = (await ask(query, person=ANNA)).data["me"]
    assert before["affinities"] and before["rfm"] and before["recommendations"]["degraded"] == []
    stranger = (await ask(query, person=Person("user", "nobody"))).data["me"]
    await chosen(ask, 'hideItem(itemId: "i04")')
    assert await chosen(ask, "pausePersonalization(paused: true)") == []
    await add_recent(trained.redis, [event("VIEW", "i20", days=0)])
    paused = (await ask(query, person=ANNA)).data["me"]
    assert paused["recommendations"]["degraded"] == paused["page"][0]["recommendations"]["degraded"] == ["PAUSED"]
    expected = [node for node in stranger["recommendations"]["nodes"] if node["id"] != "i04"]
    assert paused["recommendations"]["nodes"] == expected
    assert (paused["affinities"], paused["rfm"], paused["paused"]) == ([], None, True)
    assert [paused[name] for name in ("nextPurchase", "churn")] == [
        stranger[name] for name in ("nextPurchase", "churn")
    ]
    assert await chosen(ask, "pausePersonalization(paused: false)") == []
    after = (await ask(query, person=ANNA)).data["me"]
    assert after["affinities"] and after["recommendations"]["degraded"] == [] and after["paused"] is False


async def test_the_next_page_of_a_list_leaves_out_what_was_hidden_or_paused_meanwhile(
    ask: Ask, trained: Gateway
) -> None:
    page = "recommendations(first: 4, after: $after) { degraded nodes { id } pageInfo { endCursor } }"
    query = f"query ($after: String) {{ me {{ {page} }} }}"
    first = (await ask(query, person=ANNA)).data["me"]["recommendations"]
    rest = (await ask(query, {"after": first["pageInfo"]["endCursor"]}, person=ANNA)).data["me"]["recommendations"]
    gone = rest["nodes"][0]["id"]
    await chosen(ask, f'hideItem(itemId: "{gone}")')
    answer = await ask(query, {"after": first["pageInfo"]["endCursor"]}, person=ANNA)
    again = [node["id"] for node in answer.data["me"]["recommendations"]["nodes"]]
    assert again[:3] == [node["id"] for node in rest["nodes"][1:]] and gone not in again
    await chosen(ask, "pausePersonalization(paused: true)")
    answer = await ask(query, {"after": first["pageInfo"]["endCursor"]}, person=ANNA)
    assert answer.data["me"]["recommendations"]["degraded"] == ["PAUSED"]


async def test_a_client_chooses_for_a_user_and_people_for_themselves_alone(ask: Ask, trained: Gateway) -> None:
    assert await chosen(ask, 'hideItem(itemId: "i03", userId: "anna")', None) == []
    assert "i03" not in await all_listed(ask)
    assert await chosen(ask, 'hideItem(itemId: "i03")', None) == ["BAD_USER_INPUT"]
    assert await chosen(ask, 'hideItem(itemId: "i03", userId: "bert")') == ["NOT_YOURS"]
    assert await chosen(ask, 'hideItem(itemId: "i03", userId: "g-1")', GUEST) == ["NOT_YOURS"]
    assert await chosen(ask, 'hideItem(itemId: "i03", userId: "anna")') == []
    hide = f'mutation {{ hideItem(itemId: "i03", userId: "anna") {CHOSEN} }}'
    assert (await ask(hide, scopes=["events:write"])).codes == ["FORBIDDEN"]
    assert (await ask(hide, person=ANNA, scopes=["recommendations:read"])).codes == ["FORBIDDEN"]
    theirs = 'query { user(id: "anna") { hidden { itemIds } paused } }'
    assert (await ask(theirs)).data["user"] == {"hidden": {"itemIds": ["i03"]}, "paused": False}
    assert (await ask(theirs, scopes=["recommendations:read"])).codes == ["FORBIDDEN"] * 2


async def test_one_operation_sees_its_own_choices_and_too_many_are_refused(ask: Ask, trained: Gateway) -> None:
    user = "{ user { hidden { itemIds } recommendations(first: 40) { nodes { id } } } }"
    both = await ask(f'mutation {{ a: hideItem(itemId: "i03") {user} b: hideItem(itemId: "i04") {user} }}', person=ANNA)
    first, second = (both.data[name]["user"] for name in "ab")
    assert (first["hidden"]["itemIds"], second["hidden"]["itemIds"]) == (["i03"], ["i04", "i03"])
    assert {"id": "i04"} in first["recommendations"]["nodes"] and {"id": "i04"} not in second["recommendations"][
        "nodes"
    ]
    await trained.pool.execute("UPDATE choices SET hidden_items = $1", [f"x{number}" for number in range(500)])
    assert await chosen(ask, 'hideItem(itemId: "i09")') == ["TOO_MANY"]
    assert await chosen(ask, 'hideItem(itemId: "x7")') == []
    assert await chosen(ask, 'hideItem(itemId: "")') == ["BAD_USER_INPUT"]
    assert await chosen(ask, f'hideCategory(category: "{"x" * 201}")') == ["BAD_USER_INPUT"]

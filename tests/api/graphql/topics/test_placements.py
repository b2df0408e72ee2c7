"""Placements over GraphQL: changed, listed, tried out and removed, and what lists say of them."""

from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from db.items import upsert_items
from tests.fixtures.gateway import Ask, MakeBundle, Serve

FIELDS = """id version removed list first filter price { market from to currency } repeat fallback texts
  diversity repeatShare explore changedBy reason"""
UPSERT = f"""mutation ($input: PlacementInput!) {{ upsertPlacement(input: $input) {{
  placement {{ {FIELDS} }} userErrors {{ code field message }} }} }}"""
LIST = """query ($id: ID!) { user(id: $id) {
  recommendations(placement: "home") { placementVersion edges { reason { text } node { id } } }
  page(requests: [{key: "a", placement: "home"}, {key: "b", placement: "unheard"}]) {
    recommendations { placementVersion edges { reason { text } node { id } } } } } }"""
DEFAULTS = {
    "removed": False, "list": "PERSONAL", "first": None, "filter": None, "price": [], "repeat": "ALLOWED",
    "fallback": [], "texts": {}, "diversity": 0.0, "repeatShare": None, "explore": 0.0, "changedBy": "tests",
    "reason": None,
}  # fmt: skip


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Six items of the categories tea and mugs."""
    ids = ["tea-1", "tea-2", "tea-3", "mug-1", "mug-2", "mug-3"]
    items = [{"id": id, "updated_at": clock.now(), "title": id, "categories": [id[:3]]} for id in ids]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, ids))
    await gateway.models.load()
    return gateway


async def upsert(ask: Ask, **input: Any) -> dict[str, Any]:
    answer = await ask(UPSERT, {"input": {"id": "home", **input}})
    assert answer.codes == [], answer.messages
    saved: dict[str, Any] = answer.data["upsertPlacement"]
    return saved


async def test_a_placement_is_patched_listed_and_removed(ask: Ask, gateway: Gateway) -> None:
    filter = {"categories": ["tea"], "price": {"min": "1.5"}}
    band = {"market": None, "from": "5", "to": None, "currency": "EUR"}
    changes = {"filter": filter, "price": [{"from": "5", "currency": "EUR"}], "fallback": ["NEW"], "reason": "spring"}
    first = {**DEFAULTS, "id": "home", "version": 1, **changes, "price": [band]}
    assert await upsert(ask, **changes) == {"placement": first, "userErrors": []}
    assert (await upsert(ask, filter=filter))["placement"] == first, "nothing changed"
    second = {**first, "version": 2, "repeat": "HIDDEN", "fallback": [], "reason": None}
    assert (await upsert(ask, repeat="HIDDEN", fallback=None, version=1))["placement"] == second
    (error,) = (await upsert(ask, repeat="ALLOWED", version=1))["userErrors"]
    assert (error["code"], error["field"]) == ("CONFLICT", ["version"])
    read = f"""{{ placements(first: 1) {{ nodes {{ {FIELDS} }} pageInfo {{ hasNextPage }} }}
      placement(id: "home") {{ version history(first: 1) {{ nodes {{ version }} pageInfo {{ endCursor }} }} }}
      none: placement(id: "unheard") {{ id }} }}"""
    answer = await ask(read)
    assert answer.data["placements"] == {"nodes": [second], "pageInfo": {"hasNextPage": False}}
    history = answer.data["placement"]["history"]
    assert (history["nodes"], answer.data["none"]) == ([{"version": 2}], None)
    query = 'query ($after: String) { placement(id: "home") { history(after: $after) { nodes { version reason } } } }'
    older = await ask(query, {"after": history["pageInfo"]["endCursor"]})
    assert older.data["placement"]["history"]["nodes"] == [{"version": 1, "reason": "spring"}]
    remove = """mutation { removePlacement(id: "home", reason: "autumn") {
      placement { version removed repeat reason } userErrors { code } } }"""
    removed = {"version": 3, "removed": True, "repeat": "ALLOWED", "reason": "autumn"}
    assert (await ask(remove)).data["removePlacement"] == {"placement": removed, "userErrors": []}
    assert (await ask("{ placements { nodes { id } } }")).data["placements"]["nodes"] == []
    assert (await upsert(ask, repeat="HIDDEN"))["placement"]["version"] == 4


async def test_every_wrong_field_is_named(ask: Ask) -> None:
    saved = await upsert(ask, price=[{"currency": "EUR"}, {"to": "-1"}], texts={"en": {"UNHEARD": "x"}})
    assert saved["placement"] is None
    assert sorted(error["field"] for error in saved["userErrors"]) == [["price", "0"], ["price", "1", "to"], ["texts"]]
    for id in ("", "a" * 65, "a\n"):
        assert [error["field"] for error in (await upsert(ask, id=id))["userErrors"]] == [["id"]]
    assert [error["field"] for error in (await upsert(ask, reason=" "))["userErrors"]] == [["reason"]]


async def test_lists_follow_their_placement_and_say_its_version(ask: Ask, shop: Gateway) -> None:
    async def read() -> list[Any]:
        user = (await ask(LIST, {"id": "anna"})).data["user"]
        return [user["recommendations"], *(slot["recommendations"] for slot in user["page"])]

    for listed in await read():
        assert listed["placementVersion"] is None
    texts = {"en": dict.fromkeys(("BOUGHT_BY_OTHERS", "OTHER", "POPULAR"), "So: {item}")}
    await upsert(ask, filter={"categories": ["tea"]}, texts=texts)
    *home, unheard = await read()
    for listed in home:
        assert listed["placementVersion"] == 1
        assert {edge["node"]["id"] for edge in listed["edges"]} == {"tea-1", "tea-2", "tea-3"}
        assert {edge["reason"]["text"] for edge in listed["edges"]} == {f"So: tea-{at}" for at in (1, 2, 3)}
    assert unheard["placementVersion"] is None
    assert not any(edge["reason"]["text"].startswith("So:") for edge in unheard["edges"])
    await upsert(ask, texts=None)
    for listed in (await read())[:2]:
        assert listed["placementVersion"] == 2
        assert not any(edge["reason"]["text"].startswith("So:") for edge in listed["edges"]), "no kept text is older"


async def test_a_placement_says_how_many_items_where_the_request_does_not(ask: Ask, shop: Gateway) -> None:
    await upsert(ask, first=2)
    query = """query ($first: Int, $list: Int) { user(id: "anna") { recommendations(first: $list) { nodes { id } }
      page(requests: [{key: "a", placement: "home", first: $first}]) { recommendations { nodes { id } } } }
      previewPlacement(id: "home", userIds: ["anna"], changes: {first: 1}) { before { nodes { id } }
        after { nodes { id } } } }"""
    for asked, found in ((None, 2), (3, 3)):
        answer = await ask(query, {"first": asked, "list": asked})
        assert len(answer.data["user"]["recommendations"]["nodes"]) == found
        assert len(answer.data["user"]["page"][0]["recommendations"]["nodes"]) == found
        (preview,) = answer.data["previewPlacement"]
        assert [len(preview[side]["nodes"]) for side in ("before", "after")] == [2, 1]
    for wrong in (0, 21):
        assert [error["field"] for error in (await upsert(ask, first=wrong))["userErrors"]] == [["first"]]


async def test_a_preview_shows_both_lists_and_changes_nothing(ask: Ask, shop: Gateway) -> None:
    query = """query ($changes: PlacementChanges!) { previewPlacement(id: "home", userIds: ["anna", "bert"],
      changes: $changes) { userId before { impressionId placementVersion nodes { id } }
      after { impressionId placementVersion nodes { id } } } }"""
    await upsert(ask, filter={"categories": ["tea"]})
    answer = await ask(query, {"changes": {"filter": {"categories": ["mug"]}}})
    assert [one["userId"] for one in answer.data["previewPlacement"]] == ["anna", "bert"]
    for one in answer.data["previewPlacement"]:
        for side, version, kind in (("before", 1, "tea"), ("after", None, "mug")):
            assert (one[side]["impressionId"], one[side]["placementVersion"]) == (None, version)
            assert [node["id"][:3] for node in one[side]["nodes"]] == [kind] * 3
    assert (await ask('{ placement(id: "home") { version } }')).data["placement"]["version"] == 1
    assert (await ask(query, {"changes": {"texts": {"en": 1}}})).codes == ["BAD_USER_INPUT"]
    eleven = ", ".join(f'"p{at}"' for at in range(11))
    many = f'{{ previewPlacement(id: "home", userIds: [{eleven}], changes: {{}}) {{ userId }} }}'
    assert (await ask(many)).data is None


async def test_the_cost_of_a_preview_grows_with_the_people(ask: Ask, shop: Gateway) -> None:
    query = """query ($ids: [ID!]!) { previewPlacement(id: "home", userIds: $ids, changes: {}, first: 100) {
      before { nodes { id title } } after { nodes { id title } } } }"""
    assert (await ask(query, {"ids": ["anna"]})).codes == []
    assert (await ask(query, {"ids": [f"p{at}" for at in range(10)]})).codes == ["QUERY_TOO_COMPLEX"]


@pytest.mark.parametrize(
    ("scope", "query"),
    [
        ("placements:write", '{ placement(id: "home") { id } }'),
        ("placements:write", "{ placements { nodes { id } } }"),
        ("placements:read", 'mutation { upsertPlacement(input: {id: "home"}) { userErrors { code } } }'),
        ("placements:read", 'mutation { removePlacement(id: "home") { userErrors { code } } }'),
        ("placements:read", '{ previewPlacement(id: "home", userIds: ["anna"], changes: {}) { userId } }'),
        ("recommendations:read", '{ previewPlacement(id: "home", userIds: ["anna"], changes: {}) { userId } }'),
    ],
)
async def test_one_scope_does_not_stand_for_another(ask: Ask, scope: str, query: str) -> None:
    assert (await ask(query, scopes=[scope])).codes == ["FORBIDDEN"]


async def test_a_preview_shows_what_diversity_does(ask: Ask, shop: Gateway) -> None:
    query = """query ($changes: PlacementChanges!) {
      previewPlacement(id: "home", userIds: ["anna"], changes: $changes) {
        before { nodes { id } } after { nodes { id } } } }"""
    (one,) = (await ask(query, {"changes": {"diversity": 1}})).data["previewPlacement"]
    before, after = ([node["id"] for node in one[side]["nodes"]] for side in ("before", "after"))
    assert sorted(before) == sorted(after)
    assert before[0] == after[0]
    assert after[1][:3] != after[0][:3], "the second item is of the other category"
    assert (await upsert(ask, diversity=0.4))["placement"]["diversity"] == 0.4
    assert (await upsert(ask, repeatShare="OWN"))["placement"]["repeatShare"] == "OWN"
    assert (await upsert(ask, repeatShare=0.5))["placement"]["repeatShare"] == 0.5
    for wrong in ({"diversity": 1.5}, {"repeatShare": "HALF"}, {"explore": 0.5}):
        assert [error["field"] for error in (await upsert(ask, **wrong))["userErrors"]] == [[*wrong]]

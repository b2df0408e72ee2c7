"""People over GraphQL: which persons a token finds, which fields are private, who is known."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.gateway import Gateway
from api.graphql import context
from core import clock
from core.contract import Event, Person, read_event
from db.cache import connect_redis
from db.events import insert_events
from db.items import upsert_items
from db.users import known_people, users_by_id
from engine.recommending import people
from tests.fixtures.gateway import Ask

ANNA, GUEST = Person("user", "anna"), Person("guest", "g-1")
ME = "{ me { nodeId id anonymous known } }"
USER = 'query ($id: ID! = "anna") { user(id: $id) { id anonymous known } }'
VISITOR = 'query ($id: ID! = "g-1") { visitor(anonymousId: $id) { id anonymous known } }'
UPSERT = """mutation ($users: [UserInput!]!) { upsertUsers(users: $users) {
  accepted rejected results(only: [CONFLICT, REJECTED, RETRY]) { index id outcome code field } } }"""
PRIVATE = {
    "traits": "traits",
    "rfm": "rfm { segment }",
    "churn": "churn { probability }",
    "nextPurchase": "nextPurchase { probability }",
    "history": "history { nodes { id } }",
    "events": "recommendations { edges { reason { events { id } } } }",
}


def bought(item: str, days: float, **fields: Any) -> Event:
    now = clock.now()
    raw = {
        "id": f"{item}-{days}", "type": "PURCHASE", "itemId": item, "userId": "anna", "orderId": f"o{days}",
        "unitPrice": "12.50", "quantity": 2, "occurredAt": (now - timedelta(days=days)).isoformat(), **fields,
    }  # fmt: skip
    return read_event(raw, source="till", received_at=now)


@pytest.fixture
async def anna(gateway: Gateway, ask: Ask) -> None:
    """A user with traits and two orders of 25 each."""
    await upsert_items(gateway.pool, [{"id": "milk", "updated_at": clock.now()}])
    await gateway.catalogue.refresh()
    await insert_events(gateway.pool, [bought("milk", 3), bought("milk", 40)])
    assert (await ask(UPSERT, {"users": [{"id": "anna", "traits": {"city": "Bern"}}]})).codes == []


async def test_me_is_the_person_of_the_token(ask: Ask, anna: None) -> None:
    me = (await ask(ME, person=ANNA)).data["me"]
    assert (me["id"], me["anonymous"], me["known"]) == ("anna", False, True)
    assert (await ask(ME, person=GUEST)).data["me"]["anonymous"]
    assert (await ask(ME)).data == {"me": None}


async def test_a_user_and_a_guest_have_different_node_ids(ask: Ask) -> None:
    user = (await ask(ME, person=Person("user", "same"))).data["me"]["nodeId"]
    guest = (await ask(ME, person=Person("guest", "same"))).data["me"]["nodeId"]
    assert user != guest


async def test_an_event_of_a_user_does_not_make_the_guest_known_whom_it_names(gateway: Gateway, ask: Ask) -> None:
    await insert_events(gateway.pool, [bought("milk", 1, userId="carol", anonymousId="g-1")])
    assert not (await ask(VISITOR)).data["visitor"]["known"]


async def test_a_client_finds_everyone_known_or_not(ask: Ask, anna: None) -> None:
    assert (await ask(USER)).data["user"] == {"id": "anna", "anonymous": False, "known": True}
    assert (await ask(USER, {"id": "nobody"})).data["user"] == {"id": "nobody", "anonymous": False, "known": False}
    assert (await ask(VISITOR)).data["visitor"] == {"id": "g-1", "anonymous": True, "known": False}


async def test_no_user_is_found_by_an_id_that_begins_like_the_subject_of_a_guests_token(ask: Ask) -> None:
    reserved = "urn:penchant:guest:g-1"
    assert (await ask(USER, {"id": reserved})).codes == ["BAD_USER_INPUT"]
    upserted = (await ask(UPSERT, {"users": [{"id": reserved}]})).data["upsertUsers"]
    assert [(result["outcome"], result["field"]) for result in upserted["results"]] == [("REJECTED", ["id"])]


async def test_a_person_finds_only_themselves(ask: Ask, anna: None) -> None:
    assert (await ask(USER, person=ANNA)).data["user"]["id"] == "anna"
    assert (await ask(VISITOR, person=GUEST)).data["visitor"]["id"] == "g-1"
    for query, id, viewer in (
        (USER, "bert", ANNA),
        (USER, "anna", GUEST),
        (VISITOR, "g-1", ANNA),
        (VISITOR, "anna", ANNA),
    ):
        answer = await ask(query, {"id": id}, person=viewer)
        assert (list(answer.data.values()), answer.codes) == ([None], ["NOT_FOUND"])


@pytest.mark.parametrize("id", ["", "a\0b", "x" * 10_000, "\n"])
async def test_an_invalid_id_is_bad_input(ask: Ask, id: str) -> None:
    for query in (USER, VISITOR):
        assert (await ask(query, {"id": id})).codes == ["BAD_USER_INPUT"]


async def test_an_emoji_can_be_a_person(ask: Ask) -> None:
    assert (await ask(USER, {"id": "👩‍🍳"})).data["user"]["id"] == "👩‍🍳"


@pytest.mark.parametrize("name", PRIVATE)
async def test_a_private_field_needs_its_scope_or_the_persons_own_token(ask: Ask, anna: None, name: str) -> None:
    query, scopes = f'{{ user(id: "anna") {{ {PRIVATE[name]} }} }}', ["recommendations:read"]
    stranger = await ask(query, scopes=scopes)
    assert set(stranger.codes) == {"FORBIDDEN"}
    oneself = await ask(query, person=ANNA, scopes=scopes)
    assert oneself.codes == []
    partner = await ask(query, scopes=[*scopes, "profiles:read"])
    assert partner.codes == []
    assert partner.data == oneself.data


async def test_a_refused_field_does_not_affect_the_others(ask: Ask, anna: None) -> None:
    query = '{ user(id: "anna") { id traits recommendations { nodes { id } } } }'
    answer = await ask(query, scopes=["recommendations:read"])
    assert answer.data["user"] == {"id": "anna", "traits": None, "recommendations": {"nodes": [{"id": "milk"}]}}


async def test_people_need_a_scope(ask: Ask) -> None:
    for query in (ME, USER, VISITOR):
        assert (await ask(query, scopes=["profiles:read"])).codes == ["FORBIDDEN"]
    assert (await ask(UPSERT, {"users": []}, scopes=["profiles:read"])).codes == ["FORBIDDEN"]


async def test_rfm_describes_a_customer(ask: Ask, anna: None) -> None:
    query = """query ($id: ID!) { user(id: $id) { rfm {
      recency frequency monetary recencyScore frequencyScore monetaryScore segment } } }"""
    rfm = (await ask(query, {"id": "anna"})).data["user"]["rfm"]
    assert rfm.pop("recency") == pytest.approx(3, abs=0.01)
    assert rfm == {
        "frequency": 2, "monetary": "50.00", "recencyScore": 5, "frequencyScore": 2, "monetaryScore": 2,
        "segment": "PROMISING",
    }  # fmt: skip
    assert (await ask(query, {"id": "nobody"})).data["user"]["rfm"] is None


async def test_history_is_newest_first(ask: Ask, anna: None) -> None:
    query = '{ user(id: "anna") { history { nodes { id type itemId unitPrice } pageInfo { hasNextPage } } } }'
    history = (await ask(query)).data["user"]["history"]
    assert [node["id"] for node in history["nodes"]] == ["milk-3", "milk-40"]
    assert not history["pageInfo"]["hasNextPage"]


async def test_traits_are_merged_cleared_or_kept(ask: Ask, anna: None) -> None:
    query = '{ user(id: "anna") { traits } }'
    for patch, expected in (
        ({}, {"city": "Bern"}),
        ({"traits": {"age": 40}}, {"city": "Bern", "age": 40}),
        ({"traits": {"city": None}}, {"age": 40}),
        ({"traits": None}, {}),
    ):
        await ask(UPSERT, {"users": [{"id": "anna", **patch}]})
        assert (await ask(query)).data["user"]["traits"] == expected
    assert (await ask('{ visitor(anonymousId: "g") { traits } }')).data["visitor"]["traits"] is None


async def test_each_patch_of_a_user_has_its_own_outcome(ask: Ask, anna: None) -> None:
    users = [
        {"id": "bert", "traits": {"x": 1}},
        {"id": "a\0"},
        {"id": "anna", "traits": [1]},
        {"id": "anna", "updatedAt": "2020-01-01T00:00:00Z"},
    ]
    payload = (await ask(UPSERT, {"users": users})).data["upsertUsers"]
    assert (payload["accepted"], payload["rejected"]) == (1, 3)
    assert [(result["index"], result["outcome"], result["field"]) for result in payload["results"]] == [
        (1, "REJECTED", ["id"]), (2, "REJECTED", ["traits"]), (3, "CONFLICT", ["updatedAt"]),
    ]  # fmt: skip
    assert (await ask(USER, {"id": "bert"})).data["user"]["known"]


async def test_without_any_store_there_is_still_a_degraded_list(ask: Ask, gateway: Gateway, anna: None) -> None:
    await gateway.models.load()
    await gateway.pool.close()
    gateway.people._redis = connect_redis("redis://127.0.0.1:1/0", timeout=0.2)
    query = '{ user(id: "anna") { id rfm { segment } traits recommendations { degraded nodes { id } } } }'
    answer = await ask(query)
    user = answer.data["user"]
    assert user["recommendations"] == {
        "degraded": ["NO_CACHE", "NO_HISTORY", "UNKNOWN_PERSON", "NO_MODEL"], "nodes": [{"id": "milk"}],
    }  # fmt: skip
    assert (user["traits"], answer.codes) == (None, ["SERVICE_UNAVAILABLE"])
    await gateway.people._redis.aclose()


async def test_many_people_of_one_operation_are_looked_up_together(
    ask: Ask, anna: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[int] = []

    def counted(read: Any) -> Any:
        async def read_some(connection: Any, wanted: Any) -> Any:
            queries.append(len(wanted))
            return await read(connection, wanted)

        return read_some

    monkeypatch.setattr(context, "users_by_id", counted(users_by_id))
    monkeypatch.setattr(people, "known_people", counted(known_people))
    assert (await ask(UPSERT, {"users": [{"id": f"u{n}", "traits": {"n": n}} for n in range(0, 9, 2)]})).codes == []
    fields = " ".join(f'u{n}: user(id: "u{n}") {{ known traits }}' for n in range(9))
    await ask(f"{{ {fields} }}")  # builds the states of these people one by one
    queries.clear()
    answer = await ask(f"{{ {fields} }}")
    assert answer.data == {f"u{n}": {"known": n % 2 == 0, "traits": {"n": n} if n % 2 == 0 else None} for n in range(9)}
    assert sum(queries) == 18
    assert len(queries) <= 4, "two each, when not all fields ask in the same moment"


async def test_an_erased_person_is_forgotten_by_the_process(ask: Ask, anna: None, gateway: Gateway) -> None:
    gateway.ingest = cast(Any, SimpleNamespace(remember_erasure=lambda moment: None))
    assert (await ask('mutation { identify(input: {anonymousId: "g-1", userId: "anna"}) { user { id } } }')).codes == []
    query = '{ user(id: "anna") { known recommendations { nodes { id } } } visitor(anonymousId: "g-1") { known } }'
    for _ in range(2):
        assert (await ask(query)).data["user"]["known"]
    assert ANNA in gateway.people._kept
    assert ANNA in gateway.models.lists
    assert (await ask('mutation { eraseUser(id: "anna") { userErrors { message } } }')).codes == []
    assert ANNA not in gateway.people._kept
    assert GUEST not in gateway.people._kept
    assert ANNA not in gateway.models.lists
    assert not (await ask(query)).data["user"]["known"]

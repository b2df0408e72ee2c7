"""`POST /recommendations/batch`: the lists of the gateway, a line each; bounded, and ended when the caller leaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from api.gateway import Gateway
from api.routes import batch
from api.routes.batch import BatchEndpoint
from core import clock
from core.contract import Event, Person, read_event
from core.errors import RateLimited
from core.uploads import Offer
from db.cache import add_recent
from db.events import insert_events
from db.items import upsert_items
from db.merged_users import merge_into
from engine.placements.changing import change_placement
from engine.viewer import Viewer
from tests.fixtures.gateway import Ask, IssuedTokens, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(30)]
PEOPLE = ["cached", "stored", "fresh", "old", "stored", "never seen"]
LIST = """query ($id: ID!, $first: Int!, $filter: ItemFilter) { user(id: $id) { recommendations(first: $first,
  filter: $filter, preview: true) { modelVersion degraded edges { rank score node { id } reason { code item { id } }
  } } } }"""


def event(type: str, item: str, who: str, hours: float) -> Event:
    now = clock.now()
    when = (now - timedelta(hours=hours)).isoformat()
    raw = {"type": type, "itemId": item, "userId": who, "id": f"{who}{item}{hours}", "occurredAt": when}
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Thirty items and a model; people with a base in Redis, without one, with events only there, under an old id."""
    offers = [Offer(None, None, None, None, available=True)]
    items = [
        {"id": id, "updated_at": clock.now(), "categories": [f"c{number % 3}"], "offers": offers}
        for number, id in enumerate(IDS)
    ]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    bought = [event("PURCHASE", IDS[at], "cached", 30 + at) for at in range(5)]
    bought += [event("PURCHASE", IDS[at], "stored", 30 + at) for at in range(3, 9)]
    bought += [event("PURCHASE", IDS[at], "new", 30 + at) for at in range(9, 12)]
    await insert_events(gateway.pool, bought)
    await add_recent(gateway.redis, [event("VIEW", "i20", "fresh", 1), event("VIEW", "i21", "cached", 1)])
    await merge_into(gateway.pool, "old", "new", "shop")
    await gateway.people.state(Person("user", "cached"))
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


class Caller:
    """Posts batches, by default as a client with every scope that is needed."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.tokens, self.endpoint = gateway, IssuedTokens(), BatchEndpoint(1_000_000)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://shop.example")

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": self.gateway, "verifier": self.tokens, "request_id": "request"}
        await self.endpoint(scope, receive, send)

    def bearer(self, scope: str = "recommendations:read", person: Person | None = None, client: str = "shop") -> str:
        return f"Bearer {self.tokens.issue(Viewer(client, frozenset(scope.split()), person, 2**33))}"

    async def __call__(
        self, body: bytes, kind: str = "application/x-ndjson", *, bearer: str | None = None, **parameters: str
    ) -> httpx.Response:
        headers = {"content-type": kind, "authorization": bearer or self.bearer()}
        return await self.client.post("/recommendations/batch", content=body, headers=headers, params=parameters)


@pytest.fixture
async def post(shop: Gateway) -> AsyncIterator[Caller]:
    caller = Caller(shop)
    yield caller
    await caller.client.aclose()


def ndjson(*ids: str) -> bytes:
    return b"".join(json.dumps(id).encode() + b"\n" for id in ids)


def rows(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


async def from_gateway(ask: Ask, id: str, first: int, filter: Any = None) -> dict[str, Any]:
    answer = await ask(LIST, {"id": id, "first": first, "filter": filter})
    assert answer.codes == []
    return dict(answer.data["user"]["recommendations"])


async def test_the_lists_follow_the_placement(post: Caller, ask: Ask) -> None:
    settings = {"first": 3, "list": "BUY_AGAIN", "filter": {"categories": ["c1"]}}
    await change_placement(post.gateway.pool, "mail", settings, "tests")
    await post.gateway.placements.refresh()
    query = """query ($id: ID!) { user(id: $id) {
      recommendations(placement: "mail") { edges { node { id } reason { code } } } } }"""
    for row in rows(await post(ndjson(*PEOPLE), placement="mail")):
        same = (await ask(query, {"id": row["userId"]})).data["user"]["recommendations"]["edges"]
        assert [(item["id"], item["reason"]) for item in row["items"]] == [
            (edge["node"]["id"], edge["reason"]["code"]) for edge in same
        ]
        assert len(row["items"]) == 3
    assert {len(row["items"]) for row in rows(await post(ndjson(*PEOPLE), placement="mail", first="5"))} == {5}


async def test_the_lists_are_of_the_kind_that_is_asked_for(post: Caller, ask: Ask) -> None:
    query = """query ($id: ID!) { user(id: $id) {
      recommendations(list: RECENTLY_VIEWED, preview: true) { edges { node { id } reason { code } } } } }"""
    made = rows(await post(ndjson(*PEOPLE), list="RECENTLY_VIEWED"))
    assert {row["items"][0]["reason"] for row in made} >= {"VIEWED_BEFORE"}
    for row in made:
        same = (await ask(query, {"id": row["userId"]})).data["user"]["recommendations"]["edges"]
        assert [(item["id"], item["reason"]) for item in row["items"]] == [
            (edge["node"]["id"], edge["reason"]["code"]) for edge in same
        ]
    refused = await post(ndjson("anna"), list="EVERYTHING")
    assert code(refused) == (400, "BAD_USER_INPUT")
    assert "list must be one of PERSONAL" in refused.text


@pytest.mark.parametrize("filter", [None, {"categories": ["c1"], "not": {"ids": ["i10"]}}])
async def test_the_lists_are_those_of_the_gateway(post: Caller, ask: Ask, filter: Any) -> None:
    parameters = {} if filter is None else {"filter": json.dumps(filter)}
    made = rows(await post(ndjson(*PEOPLE), first="7", placement="mail", **parameters))
    assert [row["userId"] for row in made] == PEOPLE
    for row in made:
        same = await from_gateway(ask, row["userId"], 7, filter)
        assert (row["placement"], row["modelVersion"]) == ("mail", same["modelVersion"])
        assert row["degraded"] == same["degraded"]
        assert len(row["items"]) == 7
        for item, edge in zip(row["items"], same["edges"], strict=True):
            assert (item["id"], item["rank"], item["reason"]) == (
                edge["node"]["id"], edge["rank"], edge["reason"]["code"],
            )  # fmt: skip
            assert item["score"] == pytest.approx(edge["score"], rel=1e-3)
            assert item["reasonItemId"] == edge["reason"]["item"]["id"]
    lists = {row["userId"]: [item["id"] for item in row["items"]] for row in made}
    assert lists["cached"] != lists["stored"], "they are personal"
    assert made[-1]["degraded"] == ["UNKNOWN_PERSON"]


async def test_the_lists_come_although_people_cannot_be_read_together(
    post: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise RateLimited

    expected = [[item["id"] for item in row["items"]] for row in rows(await post(ndjson(*PEOPLE)))]
    monkeypatch.setattr(post.gateway.people, "read_many", refuse)
    assert [[item["id"] for item in row["items"]] for row in rows(await post(ndjson(*PEOPLE)))] == expected


async def test_no_base_is_written_to_redis(post: Caller, shop: Gateway) -> None:
    before = sorted(await shop.redis.keys("person:*"))
    rows(await post(ndjson("stored", "fresh", "never seen")))
    assert sorted(await shop.redis.keys("person:*")) == before


async def test_a_bad_id_has_a_line_with_its_error_and_its_neighbours_have_lists(post: Caller) -> None:
    good, bad, other = rows(await post(json.dumps(["cached", "x" * 200, "stored"]).encode(), "application/json"))
    assert good["items"] and other["items"]
    assert bad["error"]["code"] == "BAD_USER_INPUT" and "items" not in bad


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'"anna"\n{"id": 1}\n', 400), (b'"anna"\nberta\n', 400), (b'"a", "b"\n', 400), (b'"\xff"\n', 400),
     (b"\n".join([b'"a"'] * 10_001), 413)],
)  # fmt: skip
async def test_bodies_that_are_no_lines_of_ids_are_refused(post: Caller, body: bytes, status: int) -> None:
    answer = await post(body)
    assert answer.status_code == status
    assert "cached" not in answer.text


@pytest.mark.parametrize(
    "parameters",
    [{"first": "0"}, {"first": "101"}, {"first": "x"}, {"placement": ""}, {"placement": "x" * 65}, {"other": "1"},
     {"filter": "{"}, {"filter": "[]"}, {"filter": '{"nothing": 1}'}, {"filter": '{"price": {"min": "x"}}'}],
)  # fmt: skip
async def test_wrong_parameters_are_refused_before_the_answer_begins(post: Caller, parameters: dict[str, str]) -> None:
    assert (await post(ndjson("cached"), **parameters)).status_code == 400


async def test_an_empty_batch_has_an_empty_answer(post: Caller) -> None:
    assert rows(await post(b"")) == []


async def test_only_a_clients_own_token_with_the_scope_is_answered(post: Caller) -> None:
    assert code(await post(ndjson("a"), bearer="Bearer forged")) == (401, "UNAUTHENTICATED")
    assert code(await post(ndjson("a"), bearer=post.bearer("events:write"))) == (403, "FORBIDDEN")
    own = post.bearer(person=Person("user", "cached"))
    assert code(await post(ndjson("cached"), bearer=own)) == (403, "FORBIDDEN")
    assert (await post.client.get("/recommendations/batch")).status_code == 405


async def test_another_request_runs_between_any_two_lists(post: Caller) -> None:
    steps = 0

    async def others() -> None:
        nonlocal steps
        while True:
            steps += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    assert len(rows(await post(ndjson(*PEOPLE * 20)))) == 120
    other.cancel()
    assert steps >= 120


async def test_a_caller_has_one_batch_at_a_time_and_a_process_two(
    post: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bulkhead in (post.endpoint._places, post.endpoint._callers.of("any")):
        assert bulkhead._patience == 2.0
    held = [_HeldCaller() for _ in range(3)]
    running = [
        asyncio.create_task(post.app(_scope(post.bearer(client=name)), each.receive, each.send))
        for name, each in zip(("one", "one", "two"), held, strict=True)
    ]
    await held[0].began.wait()
    await held[2].began.wait()
    assert not held[1].began.is_set()
    monkeypatch.setattr(post.endpoint._places, "_most_waiting", 0)
    assert code(await post(ndjson("a"), bearer=post.bearer(client="three"))) == (503, "SERVICE_UNAVAILABLE")
    for each in held:
        each.go_on.set()
    await asyncio.gather(*running)
    assert [len(each.lines) for each in held] == [len(PEOPLE)] * 3


async def test_a_caller_who_leaves_ends_the_work_and_frees_the_place(post: Caller) -> None:
    caller = _HeldCaller()
    running = asyncio.create_task(post.app(_scope(post.bearer()), caller.receive, caller.send))
    await caller.began.wait()
    caller.left.set()
    await asyncio.wait_for(running, 5)
    assert len(caller.lines) < len(PEOPLE)
    assert len(rows(await post(ndjson("cached")))) == 1


async def test_a_caller_who_does_not_read_on_is_left(post: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SEND_TIMEOUT", 0.01)
    caller = _HeldCaller()
    await asyncio.wait_for(post.app(_scope(post.bearer()), caller.receive, caller.send), 5)
    assert len(caller.lines) == 1 and not caller.ended
    assert len(rows(await post(ndjson("cached")))) == 1


class _HeldCaller:
    """A caller who sends PEOPLE, and reads no second line until `go_on` is set."""

    def __init__(self) -> None:
        self.began, self.go_on, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.lines: list[bytes] = []
        self.ended = False
        self._sent = False

    async def receive(self) -> Message:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": ndjson(*PEOPLE), "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message.get("body"):
            self.lines.append(message["body"])
            self.began.set()
            await self.go_on.wait()
        self.ended |= message["type"] == "http.response.body" and not message.get("more_body")


def _scope(bearer: str) -> dict[str, Any]:
    headers = [(b"authorization", bearer.encode()), (b"content-type", b"application/x-ndjson")]
    path = "/recommendations/batch"
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}

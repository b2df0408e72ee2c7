"""`GET /segments/{id}/members`: JSON lines of one snapshot, for clients with segments:read."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from api.gateway import Gateway
from api.routes.segments import routes
from core import clock
from core.contract import Person
from db.segments import save_segment, write_snapshot
from engine.viewer import Viewer
from tests.fixtures.gateway import IssuedTokens

ANY = {"orders": {"min": 1}}


class Caller:
    """Reads members, by default as a client with segments:read."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.tokens, self.router = gateway, IssuedTokens(), Router(routes(30))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://shop.example")

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": self.gateway, "verifier": self.tokens, "request_id": "request"}
        await self.router(scope, receive, send)

    async def __call__(
        self, id: str = "s", *, scope: str = "segments:read", person: Person | None = None, **parameters: Any
    ) -> httpx.Response:
        token = self.tokens.issue(Viewer("shop", frozenset(scope.split()), person, 2**33))
        headers = {"authorization": f"Bearer {token}"}
        return await self.client.get(f"/segments/{id}/members", params=parameters, headers=headers)


@pytest.fixture
async def members(gateway: Gateway) -> AsyncIterator[Caller]:
    caller = Caller(gateway)
    async with caller.client:
        yield caller


@pytest.fixture
async def segment(gateway: Gateway) -> None:
    """Five users, of whom two leave and one comes a moment later."""
    await save_segment(gateway.pool, "s", "Name", ANY, "tests")
    await write_snapshot(gateway.pool, "s", ANY, list("abcde"), clock.now())


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_pages_are_of_one_snapshot(members: Caller, gateway: Gateway, segment: None) -> None:
    *first, end = lines(await members(first=3))
    assert first == [{"userId": id, "member": True} for id in "abc"]
    assert (end["segment"], end["snapshot"], end["asOf"][:4].isdigit()) == ("s", 1, True)
    await write_snapshot(gateway.pool, "s", ANY, ["z"], clock.now())
    *rest, end = lines(await members(first=3, after=end["next"]))
    assert ([line["userId"] for line in rest], end["snapshot"], end["next"]) == (["d", "e"], 1, None)
    assert [line.get("userId") for line in lines(await members())] == ["z", None]


async def test_changes_say_who_joined_and_who_left(members: Caller, gateway: Gateway, segment: None) -> None:
    since = await gateway.pool.fetchval("SELECT clock_timestamp()")
    await write_snapshot(gateway.pool, "s", ANY, list("cdef"), clock.now())
    *changed, _ = lines(await members(changedSince=since.isoformat()))
    assert changed == [
        {"userId": "a", "member": False}, {"userId": "b", "member": False}, {"userId": "f", "member": True}
    ]  # fmt: skip


async def test_before_the_first_snapshot_only_the_end_is_there(members: Caller, gateway: Gateway) -> None:
    await save_segment(gateway.pool, "s", "Name", ANY, "tests")
    assert lines(await members()) == [{"segment": "s", "snapshot": None, "asOf": None, "next": None}]


@pytest.mark.parametrize(
    ("id", "parameters", "status", "code"),
    [
        ("unknown", {}, 404, "NOT_FOUND"),
        ("s%00", {}, 404, "NOT_FOUND"),
        ("s", {"first": "0"}, 400, "BAD_USER_INPUT"),
        ("s", {"first": "10001"}, 400, "BAD_USER_INPUT"),
        ("s", {"first": "x"}, 400, "BAD_USER_INPUT"),
        ("s", {"after": "x"}, 400, "BAD_USER_INPUT"),
        ("s", {"changedSince": "yesterday"}, 400, "BAD_USER_INPUT"),
        ("s", {"limit": "1"}, 400, "BAD_REQUEST"),
        ("s", {"first": ["1", "2"]}, 400, "BAD_REQUEST"),
    ],
)
async def test_wrong_requests_are_refused(
    members: Caller, segment: None, id: str, parameters: dict[str, Any], status: int, code: str
) -> None:
    answer = await members(id, **parameters)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (status, code)


async def test_only_a_clients_token_with_the_scope_may_read(members: Caller, segment: None) -> None:
    for answer in (
        await members(scope="profiles:read"),
        await members(person=Person("user", "a")),
        await members("unknown", scope="profiles:read"),
    ):
        assert answer.status_code == 403, answer.text
    assert (await members.client.get("/segments/s/members")).status_code == 401
    assert (await members.client.post("/segments/s/members")).status_code == 405


async def test_a_moment_before_the_known_changes_is_refused(members: Caller, gateway: Gateway, segment: None) -> None:
    await gateway.pool.execute("UPDATE segment_snapshots SET made_at = made_at - interval '40 days'")
    await write_snapshot(gateway.pool, "s", ANY, ["a"], clock.now())
    await gateway.pool.execute("DELETE FROM segment_snapshots WHERE number = 1")
    answer = await members(changedSince=(clock.now() - timedelta(days=60)).isoformat())
    assert answer.status_code == 400

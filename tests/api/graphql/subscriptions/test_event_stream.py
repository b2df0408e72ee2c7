"""Subscriptions as event streams: the distinct connections mode of GraphQL over SSE."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from api.http.streaming import event_stream, streams
from db.jobs import lease_job, request_job
from db.postgres import Pool
from tests.api.graphql.subscriptions.conftest import DEADLINE, Serving
from tests.running import CLIENT, SECRET

JOBS = "subscription { jobs { id state } }"
EVENTS = {"accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of streams are checked often."""
    monkeypatch.setattr(streams, "CHECK", 0.05)


@asynccontextmanager
async def asking(gateway_at: Serving, token: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=gateway_at.url, headers=headers, timeout=DEADLINE) as client:
        yield client


@asynccontextmanager
async def subscribed(client: httpx.AsyncClient, query: str = JOBS) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of a stream, without their ends."""
    async with client.stream("POST", "/graphql", json={"query": query}, headers=EVENTS) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        yield lines(answer)


async def lines(answer: httpx.Response) -> AsyncIterator[str]:
    text = ""
    async for part in answer.aiter_text():
        assert "\r" not in part
        text += part
        while "\n" in text:
            line, _, text = text.partition("\n")
            yield line


async def next_event(found: AsyncIterator[str]) -> tuple[str, Any]:
    """The name and the data of the next event, without the comments before it."""
    async with asyncio.timeout(DEADLINE):
        while (line := await anext(found)) in ("", ":"):
            continue
        data = await anext(found)
        assert await anext(found) == ""
    name, value = line.removeprefix("event: "), data.removeprefix("data:").strip()
    return name, orjson.loads(value) if value else None


async def test_jobs_are_followed(gateway_at: Serving, pool: Pool) -> None:
    job = await request_job(pool, "affinity", "waits", "a test")
    async with asking(gateway_at, await gateway_at.token()) as client, subscribed(client) as found:
        assert await anext(found) == ":", "the stream begins at once"
        assert await next_event(found) == ("next", {"data": {"jobs": {"id": str(job.id), "state": "QUEUED"}}})
        await lease_job(pool, "affinity")
        assert await next_event(found) == ("next", {"data": {"jobs": {"id": str(job.id), "state": "RUNNING"}}})


async def test_a_get_subscribes_too(gateway_at: Serving, pool: Pool) -> None:
    await request_job(pool, "affinity", "waits", "a test")
    async with (
        asking(gateway_at, await gateway_at.token()) as client,
        client.stream("GET", "/graphql", params={"query": JOBS}, headers=EVENTS) as answer,
    ):
        assert (await next_event(lines(answer)))[0] == "next"


async def test_a_comment_shows_that_a_quiet_stream_lives(gateway_at: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT", 0.02)
    async with asking(gateway_at, await gateway_at.token()) as client, subscribed(client) as found:
        assert [await anext(found) for _ in range(6)] == [":", ""] * 3


async def test_an_error_of_the_field_ends_the_stream(gateway_at: Serving) -> None:
    async with asking(gateway_at, await gateway_at.token("catalog:read")) as client, subscribed(client) as found:
        name, answer = await next_event(found)
        assert (name, answer["errors"][0]["extensions"]["code"]) == ("next", "FORBIDDEN")
        assert await next_event(found) == ("complete", None)


async def test_what_is_refused_before_the_stream_is_refused_as_ever(gateway_at: Serving) -> None:
    async with asking(gateway_at, await gateway_at.token()) as client:
        for query, accept, status in (
            (JOBS, "application/json", 406),
            ("{ __typename }", "text/event-stream", 406),
            ("subscription {", "text/event-stream", 200),
            ("{ __typename }", "application/json, text/event-stream", 200),
        ):
            answer = await client.post("/graphql", json={"query": query}, headers={"accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json; charset=utf-8")
        forged = {"authorization": "Bearer forged"} | EVENTS
        assert (await client.post("/graphql", json={"query": JOBS}, headers=forged)).status_code == 401


async def test_a_revoked_token_ends_its_stream_without_complete(gateway_at: Serving) -> None:
    token = await gateway_at.token()
    async with asking(gateway_at, token) as client, subscribed(client) as found:
        async with httpx.AsyncClient(base_url=gateway_at.url) as other:
            await other.post("/oauth/revoke", data={"token": token}, auth=(CLIENT, SECRET))
        async with asyncio.timeout(DEADLINE):
            assert "event: complete" not in [line async for line in found]


async def test_shutdown_ends_streams(gateway_at: Serving) -> None:
    async with asking(gateway_at, await gateway_at.token()) as client, subscribed(client) as found:
        gateway_at.server.should_exit = True
        async with asyncio.timeout(DEADLINE):
            assert "event: complete" not in [line async for line in found]


async def test_streams_are_bounded_and_free_their_places(gateway_at: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_OF_CALLER", 1)
    places = gateway_at.server.lifespan.state["streams"].event_streams
    async with asking(gateway_at, await gateway_at.token()) as client:
        async with subscribed(client) as found:
            await anext(found)
            refused = await client.post("/graphql", json={"query": JOBS}, headers=EVENTS)
            assert refused.status_code == 429
        async with asyncio.timeout(DEADLINE):
            while places.taken:  # noqa: ASYNC110  # a caller that leaves sends no signal
                await asyncio.sleep(0.01)
        async with subscribed(client) as found:
            await anext(found)

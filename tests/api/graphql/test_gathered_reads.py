"""However often an operation names one kind of thing, Postgres is asked once for it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.gateway import Gateway
from api.graphql.types.nodes import node_id_of
from core import clock
from core.contract import EventType, Person, read_event
from db.clients import Client, create_client
from db.events import HistoryPart, events_of_people, events_of_person, insert_events, place_of
from db.jobs import AFFINITY, request_job
from db.serving import Model, refuse, register_model
from db.shares import Share
from tests.fixtures.gateway import Ask

ALIASES = 19


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that shares of Postgres were given."""
    found: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        run = getattr(Share, name)

        async def wrapper(self: Share, query: str, *args: Any, **options: Any) -> Any:
            if not isinstance(self._source, Share):  # a share of a share counts once
                found.append(query)
            return await run(self, query, *args, **options)

        return wrapper

    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        monkeypatch.setattr(Share, name, counted(name))
    return found


def aliases(field: Callable[[int], str]) -> str:
    return "{" + " ".join(f"a{at}: {field(at)}" for at in range(ALIASES)) + "}"


async def store(gateway: Gateway, *lines: tuple[str, str, int]) -> None:
    """Views by (kind of person, id, minutes ago)."""
    now = clock.now()
    sent = [
        read_event(
            {
                "type": "VIEW" if ago % 2 else "CLICK", "userId" if kind == "user" else "anonymousId": who,
                "itemId": "i", "id": f"{kind}-{who}-{ago}", "occurredAt": (now - timedelta(minutes=ago)).isoformat(),
            },
            source="shop",
            received_at=now,
        )
        for kind, who, ago in lines
    ]  # fmt: skip
    await insert_events(gateway.pool, sent)


async def test_many_histories_are_one_query(ask: Ask, gateway: Gateway, statements: list[str]) -> None:
    await store(gateway, *[("user", f"u{at}", ago) for at in range(ALIASES) for ago in (1, 2, 3)])
    found = await ask(aliases(lambda at: f'user(id: "u{at}") {{ history(first: 2) {{ nodes {{ id }} }} }}'))
    assert found.codes == []
    shown = {key: [node["id"] for node in user["history"]["nodes"]] for key, user in found.data.items()}
    assert shown == {f"a{at}": [f"user-u{at}-1", f"user-u{at}-2"] for at in range(ALIASES)}
    assert len(statements) == 1


async def test_gathered_histories_are_those_that_are_read_one_by_one(gateway: Gateway) -> None:
    lines = [("user", who, ago) for who in ("anna", "bert") for ago in range(1, 9)]
    await store(gateway, *lines, *[("guest", "anna", ago) for ago in range(1, 9)])
    await gateway.pool.execute(
        "INSERT INTO merged_users (user_id, into_id, merged_by) VALUES ('old-anna', 'anna', 't')"
    )
    people = [Person("user", "anna"), Person("user", "old-anna"), Person("guest", "anna"), Person("user", "nobody")]
    first = await events_of_person(gateway.pool, people[0], limit=3)
    parts = [
        HistoryPart(person, types, before, limit)
        for person in (*people, Person("user", "bert"))
        for types in (None, (EventType.VIEW,), (EventType.VIEW, EventType.CLICK), ())
        for before in (None, place_of(first[-1]))
        for limit in (1, 5)
    ]
    together = await events_of_people(gateway.pool, parts)
    assert len(together[HistoryPart(people[1], None, None, 5)]) == 5, "a merged user has the history of who they are"
    for part in parts:
        alone = await events_of_person(gateway.pool, part.person, part.types, part.before, part.limit)
        assert together[part] == alone, part


async def test_many_jobs_are_one_query_by_id_and_by_node_id(ask: Ask, gateway: Gateway, statements: list[str]) -> None:
    jobs = [await request_job(gateway.pool, AFFINITY, f"reason {at}", "ada") for at in range(ALIASES)]
    found = await ask(aliases(lambda at: f'job(id: "{jobs[at].id}") {{ reason }}'))
    assert [job["reason"] for job in found.data.values()] == [f"reason {at}" for at in range(ALIASES)]
    assert len(statements) == 1
    ids = [node_id_of("Job", str(job.id)) for job in jobs]
    found = await ask(aliases(lambda at: f'node(nodeId: "{ids[at]}") {{ ... on Job {{ reason }} }}'))
    assert [job["reason"] for job in found.data.values()] == [f"reason {at}" for at in range(ALIASES)]
    assert len(statements) == 2


async def test_many_models_and_decisions_are_one_query_each(ask: Ask, gateway: Gateway, statements: list[str]) -> None:
    for at in range(ALIASES):
        await register_model(gateway.pool, Model(f"m{at}", "affinity", clock.now(), "d", {}, None))
        await refuse(gateway.pool, f"m{at}", f"reason {at}", {}, "gate")
    found = await ask(aliases(lambda at: f'model(id: "m{at}") {{ id serving decision {{ id reason }} }}'))
    assert found.codes == []
    decisions = [model["decision"] for model in found.data.values()]
    assert [decision["reason"] for decision in decisions] == [f"reason {at}" for at in range(ALIASES)]
    assert not any(model["serving"] for model in found.data.values())
    assert len(statements) == 3, "models, what serves, and decisions"
    ids = [node_id_of("Decision", decision["id"]) for decision in decisions]
    found = await ask(aliases(lambda at: f'node(nodeId: "{ids[at]}") {{ ... on Decision {{ reason }} }}'))
    assert [decision["reason"] for decision in found.data.values()] == [f"reason {at}" for at in range(ALIASES)]
    assert len(statements) == 4


async def test_many_clients_and_receipts_are_one_query_each(ask: Ask, gateway: Gateway, statements: list[str]) -> None:
    for at in range(ALIASES - 1):
        await create_client(gateway.pool, Client(f"c{at}", "hash", ("client_credentials",), ("catalog:read",)))
    found = await ask(aliases(lambda at: f'client(id: "c{at}") {{ id }}'))
    expected = [{"id": f"c{at}"} for at in range(ALIASES - 1)]
    assert list(found.data.values()) == [*expected, None]
    assert len(statements) == 1
    found = await ask(aliases(lambda at: f'erasure(id: "{uuid4()}") {{ id }}'))
    assert set(found.data.values()) == {None}
    assert len(statements) == 2

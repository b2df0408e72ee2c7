"""A person is the same in Postgres, in DuckDB over the lake, in the state that serves, and in the log that trains."""

import csv
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.contract import Event, Person, read_event
from core.uploads import ItemPatch
from db.cache import pack_recent, unpack_recent
from db.events import insert_events, state_events
from db.items import upsert_items
from db.lake.export import export_events
from db.lake.location import Lake
from db.lake.owner import sole_writer
from db.postgres import Pool
from db.purchases import purchase_log
from engine.models.training import as_log
from engine.recommending.people import base_of
from engine.segments.person_features import people_in_lake, query_for_postgres, write_people
from ml.affinity.candidates import gather_evidence
from ml.affinity.pair_features import pair_features
from ml.affinity.visit_features import VISITOR, visitor
from ml.snapshot import snapshot
from ml.state import EVENT, State, fold
from ml.visits import running_visit

AS_OF = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
STORED = AS_OF - timedelta(days=3)  # events from then on are in the delta alone
PEOPLE, ITEMS = 200, 40


def made_up(seed: int = 5) -> list[Event]:
    """Half a year of people who look, put into the cart, order several lines, return, rate, like and dislike."""
    chance = random.Random(seed)  # noqa: S311 -- no secret
    found: list[dict[str, Any]] = []

    def add(who: int, at: datetime, type: str, **fields: Any) -> None:
        person = {"userId": f"é{who}"} if who % 3 else {"anonymousId": f"g{who}"}
        found.append({"type": type, "occurredAt": at, **person, **fields})

    def item() -> str:
        return f"i{min(int(chance.paretovariate(0.9)), ITEMS)}"

    for who in range(PEOPLE):
        for visit in range(chance.randrange(1, 12)):
            at = AS_OF - timedelta(seconds=chance.randrange(1, 180 * 86_400) if visit else chance.randrange(60, 5_000))
            session = {"sessionId": f"s{who}.{visit}"} if chance.random() < 0.5 else {}
            for _ in range(chance.randrange(7)):
                add(who, at, chance.choice(["VIEW", "VIEW", "CLICK", "ADD_TO_CART"]), itemId=item(), **session)
                at += timedelta(seconds=chance.choice([20, 300, 2_400]))
            said = chance.choice(["LIKE", "DISLIKE", "RATING", None, None])
            if said:
                stars = {"value": str(chance.randrange(1, 6))} if said == "RATING" else {}
                add(who, at, said, itemId=item(), **stars)
            _order(chance, partial(add, who), at, f"o{who}.{visit}", item)
    return [
        read_event({**raw, "id": str(number)}, source="shop", received_at=AS_OF + timedelta(days=30))
        for number, raw in enumerate(found)
    ]


def _order(chance: random.Random, add: Callable[..., None], at: datetime, name: str, item: Callable[[], str]) -> None:
    """Some lines of an order, and returns of some of them, with and without its id."""
    order = {"orderId": name} if chance.random() < 0.7 else {}
    for _ in range(chance.randrange(5)):
        units, bought = chance.randrange(1, 4), item()
        price = {"quantity": units, "unitPrice": f"{chance.randrange(1, 5_000) / 100}", "currency": "EUR"}
        add(at, "PURCHASE", itemId=bought, **price, **order)
        if chance.random() < 0.2:
            back = at + timedelta(hours=chance.randrange(1, 200))
            named = order if chance.random() < 0.5 else {}
            add(back, "RETURN", itemId=bought, quantity=chance.randrange(1, 3), **named)


@pytest.fixture
async def stocked(pool: Pool) -> Pool:
    """Items in five categories; a few have none."""
    items: list[ItemPatch] = [
        {"id": f"i{number}", "updated_at": STORED, "categories": [f"c{number % 5}"] if number % 7 else []}
        for number in range(1, ITEMS + 1)
    ]
    await upsert_items(pool, items)
    return pool


async def export(pool: Pool, lake: Lake) -> None:
    async with sole_writer(pool) as connection:
        await export_events(connection, lake, AS_OF + timedelta(days=40), lambda *_: None)


async def from_lake(pool: Pool, lake: Lake) -> tuple[list[str], list[tuple[Any, ...]]]:
    found: list[tuple[list[str], list[tuple[Any, ...]]]] = []
    await people_in_lake(pool, lake, AS_OF, lambda result: found.append((list(result.columns), result.fetchall())))
    return found[0]


async def test_postgres_and_duckdb_give_identical_rows(stocked: Pool, tmp_path: Path) -> None:
    await insert_events(stocked, made_up())
    lake = Lake.at(f"file://{tmp_path}/lake")
    await export(stocked, lake)
    rows = await stocked.fetch(query_for_postgres(AS_OF), timeout=60)
    names, others = await from_lake(stocked, lake)
    assert names == list(rows[0].keys())
    assert [tuple(row) for row in rows] == others and len(rows) > PEOPLE * 0.8
    for name, least in (("returns", 50), ("visit_events", 50), ("dislikes", 50), ("categories", 500), ("visits", 500)):
        assert sum(row[name] or 0 for row in rows) >= least, name
    for file, at in (("postgres.csv", None), ("lake.csv", lake)):
        await write_people(stocked, tmp_path / file, AS_OF, at)
    written = [
        list(csv.reader((tmp_path / file).read_text(encoding="utf-8").splitlines()))
        for file in ("postgres.csv", "lake.csv")
    ]
    assert written[0] == written[1] and len(written[0]) == len(rows) + 1


async def test_online_states_have_the_features_of_training_and_of_the_sql(stocked: Pool) -> None:
    events = made_up()
    await insert_events(stocked, [event for event in events if event.occurred_at < STORED])
    people = {event.person for event in events}
    numbers = {row["id"]: row["number"] for row in await stocked.fetch("SELECT id, number FROM items")}
    online = {}
    for person in people:
        base = State.unpack(base_of(await state_events(stocked, person)).pack())
        late = [event for event in events if event.person == person and STORED <= event.occurred_at < AS_OF]
        base = fold(base, recents(late[::-2], numbers))  # out of order, and some of them twice
        online[person] = fold(base.with_included([event.identity for event in late[::-2]]), recents(late, numbers))
    await insert_events(stocked, events)  # those from after the moment, too
    as_of = int(AS_OF.timestamp())
    sql = {row["person"]: row for row in await stocked.fetch(query_for_postgres(AS_OF), timeout=60)}
    categories = {number: f"c{number % 5}" for number in numbers.values()}
    log = as_log(await purchase_log(stocked, AS_OF + timedelta(days=60)), categories)
    universe = snapshot(log, log.numbers, as_of)
    for index, name in enumerate(log.people):
        person = Person(*name.split(":", 1))  # type: ignore[arg-type]
        state, offline = online[person], log.state(index, as_of)
        row = sql.get(name)
        assert (row is None) == (not state.orders)
        if row is not None:
            expected = (row["orders"], row["purchases"], row["spend_cents"], row["first_order"], row["last_order"])
            assert (state.orders, state.lines, state.spend, state.first, state.last) == expected, name
            assert len(state.bought) == row["items"]
            assert visitor(running_visit(state, as_of)) == {each: row[each] for each in VISITOR}, name
        ours, theirs = (pair_features(gather_evidence(universe, each, as_of), log.numbers) for each in (state, offline))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)
    assert len(log.people) > PEOPLE * 0.9


def recents(events: Iterable[Event], numbers: dict[str, int]) -> Any:
    """Events as the gateway reads them from Redis."""
    rows = []
    for event in events:
        identity, type, occurred, quantity, cents, order, item = unpack_recent(pack_recent(event))
        rows.append((identity, type, numbers[item], occurred, quantity, cents, order))
    return np.array(rows, EVENT)

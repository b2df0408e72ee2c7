"""Conditions of segments: what Postgres finds is what a plain reading of each condition says."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pytest

from core import clock
from core.contract import Person, read_event
from core.errors import InvalidInput, StoreUnavailable
from db.deletion import delete_people
from db.erasures import begin_erasure
from db.events import insert_events
from db.items import upsert_items
from db.locks import AdvisoryLock, lock_transaction
from db.merged_users import merge_into
from db.postgres import Pool
from db.segment_figures import Figures, FiguresMade, count_where, users_where, write_figures
from db.users import upsert_users
from engine.segments.defining import checked
from engine.segments.sizing import conditions_in, size_of
from ml.hazard.examples import BINS
from ml.hazard.forecasts import log_quiet, no_order
from tests.faults import eventually

NOW = clock.now().replace(microsecond=0)
LONG_AGO = datetime.min.replace(tzinfo=NOW.tzinfo)
ITEMS = {"milk": (["food", "drinks"], "Alm"), "tea": (["drinks"], "Sun"), "pan": (["kitchen"], "Alm")}
TRAITS: list[dict[str, Any]] = [{}, {"plan": "gold"}, {"plan": ["gold", "old"], "age": 30}, {"age": 61, "vip": True}]


class Known(NamedTuple):
    """What is known of a user. Without figures they never bought."""

    id: str
    figures: Figures | None
    logits: np.ndarray[Any, Any]
    traits: dict[str, Any] | None
    events: list[tuple[str, str, str, float]]  # type, item, order, days ago


def known_users(random: np.random.Generator) -> Iterator[Known]:
    for number in range(60):
        id, logits = f"u{number:02}", random.normal(-2, 1, (1, BINS))
        bought, figures = random.random() < 0.7, None
        events = [
            (
                str(random.choice(["VIEW", "ADD_TO_CART"])),
                str(random.choice(list(ITEMS))),
                "",
                float(random.uniform(0, 60)),
            )
            for _ in range(random.integers(0, 6))
        ]
        if bought:
            orders = int(random.integers(1, 5))
            events += [
                ("PURCHASE", str(random.choice(list(ITEMS))), f"o{order}", float(random.uniform(0, 300)))
                for order in range(orders)
                for _ in range(random.integers(1, 3))
            ]
            last = NOW - timedelta(days=min(days for type, _, _, days in events if type == "PURCHASE"))
            rfm, cents = str(random.choice(["LOYAL", "NEW"])), int(random.integers(0, 20_000))
            figures = Figures(id, last, orders, cents, rfm, log_quiet(logits)[0].tolist())
        traits = dict(random.choice(np.array(TRAITS, object))) if random.random() < 0.7 else None
        yield Known(id, figures, logits, traits, events)


@pytest.fixture
async def users(pool: Pool) -> list[Known]:
    """Sixty users of all kinds, stored."""
    found = list(known_users(np.random.default_rng(7)))
    items = [{"id": id, "categories": names, "brand": brand, "updated_at": NOW} for id, (names, brand) in ITEMS.items()]
    await upsert_items(pool, items)  # type: ignore[arg-type]
    await upsert_users(pool, [{"id": user.id, "traits": user.traits} for user in found if user.traits is not None])
    sent = [
        read_event(
            {
                "type": type, "userId": user.id, "itemId": item, "id": f"{user.id}-{at}",
                "occurredAt": (NOW - timedelta(days=days)).isoformat(), **({"orderId": order} if order else {}),
            },
            source="shop",
            received_at=NOW,
        )
        for user in found
        for at, (type, item, order, days) in enumerate(user.events)
    ]  # fmt: skip
    await insert_events(pool, sent)
    figures = [user.figures for user in found if user.figures]
    await write_figures(pool, figures, FiguresMade(NOW, True), NOW)
    return found


def within(value: float | None, bounds: dict[str, Any]) -> bool:
    return value is not None and bounds.get("min", -np.inf) <= value <= bounds.get("max", np.inf)


def of_item(item: str, condition: dict[str, Any]) -> bool:
    categories, brand = ITEMS[item]
    fits = "categories" not in condition or not set(categories).isdisjoint(condition["categories"])
    return fits and ("brands" not in condition or brand in condition["brands"])


def trait_holds(traits: dict[str, Any], condition: dict[str, Any]) -> bool:
    value = traits.get(condition["key"])
    if "exists" in condition:
        return (value is not None) is condition["exists"]
    if "values" in condition:
        every = value if isinstance(value, list) else [value]
        texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in every]
        return value is not None and not set(texts).isdisjoint(condition["values"])
    return within(value if isinstance(value, int | float) and not isinstance(value, bool) else None, condition)


def share_of(user: Known, condition: dict[str, Any]) -> float | None:
    wanted = {"categories" if condition["by"] == "CATEGORY" else "brands": [condition["key"]]}
    orders = {order for type, item, order, _ in user.events if type == "PURCHASE" and of_item(item, wanted)}
    return min(len(orders) / user.figures.orders, 1) if user.figures else None


def count_of(user: Known, condition: dict[str, Any]) -> int:
    since = [event for event in user.events if event[3] < condition["within"]]
    return sum(type == condition["type"] and of_item(item, condition) for type, item, _, _ in since)


def is_named(user: Known, where: dict[str, Any]) -> bool:
    """Whether a condition names events of the user."""
    inner = [*where.get("any_of", []), *([where["not"]] if "not" in where else [])]
    return any(count_of(user, each) for each in where.get("events", [])) or any(is_named(user, each) for each in inner)


def holds(user: Known, where: dict[str, Any]) -> bool:
    """Whether all conditions hold, read plainly."""
    of = user.figures
    quiet = {
        name: no_order(user.logits, where[name]["within"])[0] for name in ("churn", "next_purchase") if name in where
    }
    figures = {
        "recency": of and (NOW - of.last_order) / timedelta(days=1),
        "orders": of and of.orders,
        "spent": of and of.cents / 100,
        "churn": quiet.get("churn") if of else None,
        "next_purchase": 1 - quiet["next_purchase"] if of and "next_purchase" in quiet else None,
    }
    every = [within(figures[name], where[name]) for name in figures if name in where]
    every += [bool(of and of.rfm in where["rfm"])] if "rfm" in where else []
    every += [trait_holds(user.traits or {}, each) for each in where.get("traits", [])]
    every += [within(share_of(user, each), each) for each in where.get("affinities", [])]
    every += [within(count_of(user, each), each) for each in where.get("events", [])]
    every += [any(holds(user, each) for each in where["any_of"])] if "any_of" in where else []
    every += [not holds(user, where["not"])] if "not" in where else []
    return all(every)


CONDITIONS: list[dict[str, Any]] = [
    {"rfm": ["LOYAL"]},
    {"recency": {"max": 30}},
    {"recency": {"min": 10}, "orders": {"min": 2}},
    {"spent": {"min": 50, "max": 150}},
    {"churn": {"within": 30, "min": 0.7}},
    {"churn": {"within": 365, "max": 0.1}},
    {"next_purchase": {"within": 91, "min": 0.7}},
    {"traits": [{"key": "plan", "values": ["gold"]}]},
    {"traits": [{"key": "age", "min": 18, "max": 60}]},
    {"traits": [{"key": "vip", "values": ["true"]}, {"key": "plan", "exists": False}]},
    {"traits": [{"key": "plan", "min": 1}]},
    {"affinities": [{"by": "CATEGORY", "key": "drinks", "min": 0.5}]},
    {"affinities": [{"by": "BRAND", "key": "Alm", "max": 0.4}]},
    {"events": [{"type": "VIEW", "within": 30, "min": 2}]},
    {"events": [{"type": "VIEW", "within": 30, "max": 0}]},
    {"events": [{"type": "VIEW", "within": 40, "min": 1, "categories": ["drinks"], "brands": ["Alm", "Sun"]}]},
    {"events": [{"type": "ADD_TO_CART", "within": 20, "min": 1}], "not": {"orders": {"min": 1}}},
    {"any_of": [{"rfm": ["NEW"]}, {"traits": [{"key": "vip", "exists": True}]}], "not": {"recency": {"max": 20}}},
    {"not": {"any_of": [{"spent": {"min": 1}}, {"events": [{"type": "VIEW", "within": 300, "min": 1}]}]}},
]


async def test_users_are_found_as_the_conditions_say(pool: Pool, users: list[Known]) -> None:
    for condition in CONDITIONS:
        where = checked("s", {"where": condition})["where"]
        found = await users_where(pool, where, NOW)
        known = [user for user in users if user.figures or user.traits is not None or is_named(user, where)]
        wanted = [user.id for user in known if holds(user, where)]
        assert found == wanted, condition
        assert 0 < len(found) < len(users) or condition == {"traits": [{"key": "plan", "min": 1}]}, condition
        assert await count_where(pool, where, NOW, 9.0) == len(found)


async def test_an_old_id_of_a_merged_user_is_in_no_segment(pool: Pool, users: list[Known]) -> None:
    where = {"traits": [{"key": "plan", "values": ["gold"]}]}
    first, *others = await users_where(pool, where, NOW)
    await merge_into(pool, first, "u-new", "tests")
    assert await users_where(pool, where, NOW) == others


async def test_erased_users_have_no_figures_also_when_these_are_found_meanwhile(pool: Pool) -> None:
    figures = [Figures(id, NOW, 1, 0, "NEW", None) for id in ("anna", "bert")]
    await write_figures(pool, figures, FiguresMade(NOW, False), NOW)
    await begin_erasure(pool, "anna", "tests", clock.now())
    await delete_people(pool, [Person("user", "anna")])
    where = {"orders": {"min": 1}}
    assert await users_where(pool, where, NOW) == ["bert"]
    await write_figures(pool, figures, FiguresMade(NOW, False), NOW - timedelta(minutes=5))
    assert await users_where(pool, where, NOW) == ["bert"]


async def test_figures_take_the_place_of_all_others_and_what_stays_is_not_written_again(pool: Pool) -> None:
    read = "SELECT user_id, orders, rfm, quiet, xmin::text FROM segment_figures ORDER BY user_id"
    quiet = (0.5, 0.25)
    await write_figures(
        pool,
        [Figures(id, NOW, 1, 0, "NEW", quiet) for id in ("anna", "bert", "cid")],
        FiguresMade(NOW, True),
        NOW,
    )
    _, bert, _ = await pool.fetch(read)
    changed = [Figures("anna", NOW, 2, 0, "NEW", quiet), Figures("bert", NOW, 1, 0, "NEW", quiet)]
    await write_figures(pool, [*changed, Figures("dora", NOW, 1, 5, "NEW", None)], FiguresMade(NOW, True), NOW)
    after = await pool.fetch(read)
    assert [(row["user_id"], row["orders"], row["quiet"]) for row in after] == [
        ("anna", 2, [0.5, 0.25]), ("bert", 1, [0.5, 0.25]), ("dora", 1, None)
    ]  # fmt: skip
    assert after[1]["xmin"] == bert["xmin"]


async def test_an_erasure_waits_for_no_figures_that_are_collected(pool: Pool) -> None:
    figures = [Figures(id, NOW, 1, 0, "NEW", None) for id in ("anna", "bert")]
    await write_figures(pool, figures, FiguresMade(NOW, False), NOW)
    async with pool.acquire() as other, other.transaction():
        await lock_transaction(other, AdvisoryLock.MEMBERS)  # holds the writing back after it has collected all
        writing = asyncio.create_task(write_figures(pool, figures[:1], FiguresMade(NOW, False), NOW))
        waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        await eventually(lambda: other.fetchval(waits))
        assert await other.execute("DELETE FROM segment_figures WHERE user_id = 'anna'") == "DELETE 1"
    await writing
    assert await users_where(pool, {"orders": {"min": 1}}, NOW) == ["anna"]


async def test_a_size_is_known_at_once_or_not_at_all(
    pool: Pool, users: list[Known], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = conditions_in({"orders": {"min": 1}})
    assert await size_of(pool, where) == (sum(user.figures is not None for user in users), NOW, None)
    await write_figures(pool, [], FiguresMade(NOW, False), NOW)
    assert (await size_of(pool, conditions_in({"churn": {"min": 0.5}}))).note == (
        "No forecast was read yet: members are found within a minute if one serves."
    )
    async with pool.acquire() as locking, locking.transaction():
        await locking.execute("LOCK TABLE segment_figures")
        monkeypatch.setattr("engine.segments.sizing.SIZE_TIMEOUT", 0.05)
        late = await size_of(pool, where)
        with pytest.raises(StoreUnavailable):
            await count_where(pool, where.as_json(), NOW, 0.05)
    assert (late.members, late.note and late.note[:13]) == (None, "Counting took")
    await pool.execute("DELETE FROM segment_figures_made")
    assert (await size_of(pool, where)).members is None


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"traits": [{"key": "plan"}]}, "where.traits.0"),
        ({"traits": [{"key": "", "exists": True}]}, "where.traits.0.key"),
        ({"traits": [{"key": "a", "values": ["x"], "exists": True}]}, "where.traits.0"),
        ({"traits": [{"key": "a", "min": 2, "max": 1}]}, "where.traits.0"),
        ({"affinities": [{"by": "COLOR", "key": "x", "min": 0.1}]}, "where.affinities.0.by"),
        ({"affinities": [{"by": "BRAND", "key": "x", "min": 1.1}]}, "where.affinities.0.min"),
        ({"affinities": [{"by": "BRAND", "key": "x"}]}, "where.affinities.0"),
        ({"events": [{"type": "VIEW", "within": 0, "min": 1}]}, "where.events.0.within"),
        ({"events": [{"type": "LOOK", "within": 1, "min": 1}]}, "where.events.0.type"),
        ({"events": [{"type": "VIEW", "within": 1}]}, "where.events.0"),
        ({"events": [{"type": "VIEW", "within": 1, "min": 1}] * 11}, "where"),
        ({"traits": [{"key": "a", "exists": True}] * 51}, "where"),
        ({"any_of": [{}]}, "where.any_of.0"),
        ({"not": {"not": {"not": {"orders": {"min": 1}}}}}, "where"),
    ],
)
def test_a_wrong_condition_of_each_kind_is_refused_and_named(document: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked("s", {"where": document})
    assert refused.value.field == field

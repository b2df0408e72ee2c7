"""Training sees the same purchases whether they are read from Postgres or from the lake."""

import random
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from db.items import upsert_items
from db.lake.hashing import hash_integers, hash_texts
from db.lake.location import Lake
from db.lake.purchases import gaps, purchase_log_with_lake
from db.postgres import Pool
from db.purchases import PurchaseLog, Signals, purchase_log
from tests.db.lake.conftest import DAY, NOON, NOW, event, export, store
from tests.db.lake.test_retention import LATER, drop

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), NOON + 20 * DAY


def equal(one: PurchaseLog, other: PurchaseLog) -> bool:
    for name in (field.name for field in fields(PurchaseLog)):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert type(ours) is type(theirs), name
        if isinstance(ours, Signals):
            for column in (field.name for field in fields(Signals)):
                mine, others = getattr(ours, column), getattr(theirs, column)
                assert (mine.dtype, mine.tolist()) == (others.dtype, others.tolist()), column
        elif isinstance(ours, np.ndarray):
            assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist()), name
        else:
            assert ours == theirs, name
    return len(one.item) > 0 and len(one.signals.item) > 0


def shop(count: int = 400) -> list[Any]:
    """Users, guests and both; orders with and without ids; prices in every form; other things than purchases."""
    chance = random.Random(1)  # noqa: S311 -- no secret
    found = []
    for number in range(count):
        type = chance.choice(["PURCHASE"] * 6 + ["RETURN", "RATING", "LIKE", "DISLIKE", "VIEW"])
        who = chance.choice([("u", None), (None, "g"), ("u", "g")])
        found.append(
            event(
                number,
                NOON + timedelta(minutes=chance.randrange(10 * 1440)) if number % 3 else NOON,
                type=type,
                userId=who[0] and f"{who[0]}{chance.randrange(30)}é",
                anonymousId=who[1] and f"{who[1]}{chance.randrange(30)}",
                itemId=chance.choice(["tea", "cup", "pot", "unknown item"]),
                orderId=chance.choice([None, f"o{chance.randrange(40)}", "a much longer name of an order"]),
                quantity=chance.choice([None, 1, 3, 1_000_000]),
                unitPrice=chance.choice([None, "0.005", "2.3449", "2.345", "99999.9999"]),
                value=chance.choice(["2.004" if type == "RATING" else None, "7.5", "0.0050"]),
                currency="EUR",
            )
        )
    largest = {"unit_price": Decimal("9999999999.9999"), "quantity": 1_000_000}  # of a release without a bound of lines
    return [*found, found[1].model_copy(update={"id": "largest", **largest})]


@pytest.fixture
async def stocked(pool: Pool) -> Pool:
    await upsert_items(pool, [{"id": id, "updated_at": NOON} for id in ("tea", "cup", "pot")])
    return pool


async def test_the_lake_and_postgres_give_identical_purchases(stocked: Pool, lake: Lake) -> None:
    await store(stocked, *shop())
    for since, until in ((None, END), (NOON + DAY / 3, NOON + 4 * DAY), (END, END + DAY)):
        from_postgres = await purchase_log(stocked, until, since)
        assert equal(await purchase_log_with_lake(stocked, lake, until, since), from_postgres) == (since != END)
    from_postgres = await purchase_log(stocked, END)
    await export(stocked, lake, until=date(2026, 1, 9))  # the rest is still read from Postgres
    assert equal(await purchase_log_with_lake(stocked, lake, END), from_postgres)
    await export(stocked, lake)
    for since, until in ((None, END), (NOON + DAY / 3, NOON + 4 * DAY)):
        from_postgres = await purchase_log(stocked, until, since)
        await stocked.execute("ALTER TABLE events RENAME TO hidden")
        await stocked.execute("CREATE TABLE events (LIKE hidden)")
        try:  # nothing comes from Postgres any more
            assert equal(await purchase_log_with_lake(stocked, lake, until, since), from_postgres)
        finally:
            await stocked.execute("DROP TABLE events")
            await stocked.execute("ALTER TABLE hidden RENAME TO events")


async def test_programs_are_left_out_as_from_postgres(
    stocked: Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("db.purchases", "db.lake.purchases"):
        monkeypatch.setattr(f"{module}.MOST_BROWSED", 40)
        monkeypatch.setattr(f"{module}.MOST_OF_PERSON", 3)
    views = [
        event(1_000 + number, NOON + timedelta(days=3, minutes=number), type="VIEW", userId=f"u{who}é", itemId="tea")
        for number, who in enumerate([0] * 60 + [1] * 30 + [2, 3] * 2)
    ]
    await store(stocked, *shop(), *views)
    from_postgres = await purchase_log(stocked, END, browsed=40)
    everything = await purchase_log(stocked, END)
    await export(stocked, lake)
    assert equal(await purchase_log_with_lake(stocked, lake, END), from_postgres)
    assert len(from_postgres.signals.item) <= len(everything.signals.item) - 90


@pytest.mark.parametrize("url", ["{folder}/lake[1]", "s3://shop/lake[1]*"])
async def test_a_lake_whose_address_looks_like_a_pattern_is_read(
    stocked: Pool, s3: object, tmp_path: Path, url: str
) -> None:
    lake = Lake.at(url.format(folder=tmp_path))
    await store(stocked, *shop(40))
    await export(stocked, lake)
    assert equal(await purchase_log_with_lake(stocked, lake, END), await purchase_log(stocked, END))


async def test_months_that_postgres_dropped_are_read_from_the_lake_and_counted_once(stocked: Pool, lake: Lake) -> None:
    everything = shop()
    await store(stocked, *everything)
    before = await purchase_log(stocked, END)
    await export(stocked, lake)
    assert await drop(stocked, lake)
    await store(stocked, *everything[:100])  # the file was loaded again
    assert equal(await purchase_log_with_lake(stocked, lake, END), before)
    await export(stocked, lake, LATER)
    assert equal(await purchase_log_with_lake(stocked, lake, END), before)


async def test_purchases_of_a_guest_who_became_a_user_are_the_users(stocked: Pool, lake: Lake) -> None:
    await store(stocked, *shop())
    await export(stocked, lake)
    joined = {"g10": "u1é", "g12": "somebody new", "nobody": "u5é"}
    plain = await purchase_log_with_lake(stocked, lake, END)
    from_lake = await purchase_log_with_lake(stocked, lake, END, joined=joined)
    for guest, user in joined.items():
        await stocked.execute("UPDATE events SET user_id = $2 WHERE anonymous_id = $1 AND user_id IS NULL", guest, user)
    assert equal(from_lake, await purchase_log(stocked, END))
    assert "guest:g10" in plain.people and "guest:g10" not in from_lake.people
    assert (await export(stocked, lake)).days == 0  # files keep what was known


async def test_purchases_of_a_merged_user_are_those_of_the_user_that_stays(stocked: Pool, lake: Lake) -> None:
    await store(stocked, *shop())
    await export(stocked, lake)
    merged = {"u1é": "u2é", "u3é": "somebody new", "nobody": "u5é"}
    from_lake = await purchase_log_with_lake(stocked, lake, END, merged=merged)
    for old, user in merged.items():
        await stocked.execute("UPDATE events SET user_id = $2 WHERE user_id = $1", old, user)
    assert equal(from_lake, await purchase_log(stocked, END))
    assert "user:u1é" not in from_lake.people and "user:somebody new" in from_lake.people
    assert (await export(stocked, lake)).days == 0  # files keep what was known


async def test_hashes_equal_those_of_postgres(pool: Pool) -> None:
    chance = random.Random(2)  # noqa: S311 -- no secret
    texts = ["".join(chance.choice("aZ0é漢🙂") for _ in range(length)) for length in range(41) for _ in range(3)]
    seeds = [chance.choice([0, 1, -1, chance.getrandbits(63), -chance.getrandbits(63)]) for _ in texts]
    rows = await pool.fetch(
        "SELECT hashtextextended(word, seed) AS of_text, hashint8extended(seed, seed) AS of_number"
        " FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS given(word, seed, place) ORDER BY place",
        texts,
        seeds,
    )
    numbers = np.array(seeds, np.int64)
    assert hash_texts(pa.array(texts), numbers).tolist() == [row["of_text"] for row in rows]
    assert hash_texts(pa.array(texts)[5:], numbers[5:]).tolist() == [row["of_text"] for row in rows[5:]]
    assert hash_integers(numbers, numbers).tolist() == [row["of_number"] for row in rows]


def test_gaps_are_the_spans_that_no_day_covers() -> None:
    assert gaps([], BEGIN, NOW) == [(BEGIN, NOW)]
    assert gaps([BEGIN.date()], BEGIN, BEGIN + DAY) == [(BEGIN + DAY, BEGIN + DAY)]
    assert gaps([BEGIN.date()], BEGIN + DAY / 2, NOW) == [(BEGIN + DAY, NOW)]
    assert gaps([NOON.date()], BEGIN, NOON) == [(BEGIN, datetime(2026, 1, 5, tzinfo=UTC))]

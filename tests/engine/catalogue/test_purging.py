"""What changes in the catalogue becomes purges: once, whoever changed it, bounded, and sent until they are taken."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest

from bus.webhook import Webhook, webhook_client
from core import clock
from core.uploads import ItemPatch
from db import purges
from db.complete_files import add_named, begin_file, find_omitted, make_named_available, make_omitted_unavailable
from db.items import remove_items, upsert_items
from db.postgres import Pool, transaction
from db.purges import delete_old_purges, purge_backlog
from engine.catalogue import purging
from engine.catalogue.purging import add_due_purges, batches_of, send_due_purges
from tests.faults import eventually
from tests.webhook_receiver import Receiver, receiving

AT_ONCE = timedelta(0)
LISTS = {"trending", "items"}


def patch(id: str, **fields: Any) -> ItemPatch:
    return {"id": id, "updated_at": clock.now(), **fields}  # type: ignore[typeddict-item]


@pytest.fixture
async def shop(pool: Pool) -> Pool:
    """A shop with two items, whose purges begin now."""
    await upsert_items(pool, [patch("milk", title="Milk"), patch("soap", title="Soap")])
    assert await add_due_purges(pool, AT_ONCE) == 0
    return pool


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def webhook(receiver: Receiver) -> AsyncIterator[Webhook]:
    async with webhook_client() as client:
        yield Webhook(client, receiver.url, [b"k" * 24])


async def new_keys(pool: Pool) -> set[str]:
    """The keys of the purges that are due now for what changed; they are dropped."""
    await add_due_purges(pool, AT_ONCE)
    return set(chain.from_iterable(row["keys"] for row in await pool.fetch("DELETE FROM purges RETURNING keys")))


def offer(market: str | None = None, price: str = "1", available: bool = True) -> dict[str, Any]:
    return {"market": market, "price": Decimal(price), "currency": "EUR", "available": available}


async def test_whatever_changes_an_item_purges_its_answers(shop: Pool) -> None:
    milk = {"many-items", "item:milk"}
    await upsert_items(shop, [patch("milk", title="Oat milk")])
    assert await new_keys(shop) == milk
    await upsert_items(shop, [patch("milk", offers=[offer()])])
    assert await new_keys(shop) == milk | LISTS
    await upsert_items(shop, [patch("milk", offers=[offer(price="2")])])
    assert await new_keys(shop) == milk, "re-priced"
    await upsert_items(shop, [patch("milk", offers=[offer(available=False)])])
    assert await new_keys(shop) == milk, "sold out"
    await upsert_items(shop, [patch("milk", offers=[offer("de", available=True)])])
    assert await new_keys(shop) == milk | LISTS, "restocked in a market"
    await upsert_items(shop, [patch("milk", categories=["drinks"])])
    assert await new_keys(shop) == milk | LISTS
    await remove_items(shop, ["milk"])
    assert await new_keys(shop) == milk
    await upsert_items(shop, [patch("milk")])
    assert await new_keys(shop) == milk | LISTS, "back again"
    await upsert_items(shop, [patch("öl & salz")])
    assert await new_keys(shop) == LISTS | {"many-items", "item:%C3%B6l%20%26%20salz"}


async def test_what_changes_nothing_purges_nothing(shop: Pool) -> None:
    await upsert_items(shop, [patch("milk", title="Milk")])
    await remove_items(shop, ["nothing"])
    assert await new_keys(shop) == set()


async def test_a_complete_file_purges_what_it_leaves_out_and_what_it_brings_back(shop: Pool) -> None:
    async with shop.acquire() as connection:
        await begin_file(connection)
        await add_named(connection, ["milk"])
        await find_omitted(connection)
        assert await make_omitted_unavailable(connection) == 1
        assert await new_keys(shop) == {"many-items", "item:soap"}
        await begin_file(connection)
        await add_named(connection, ["milk", "soap"])
        assert await make_named_available(connection) == 1
        assert await new_keys(shop) == LISTS | {"many-items", "item:soap"}


async def test_changes_of_one_item_are_one_purge_and_rolled_back_ones_none(shop: Pool) -> None:
    for title in ("a", "b", "c"):
        await upsert_items(shop, [patch("milk", title=title)])
    async with shop.acquire() as connection, transaction(connection) as inside:
        await upsert_items(inside, [patch("soap", title="x")])
        await inside.execute("ROLLBACK; BEGIN")
    assert await add_due_purges(shop, AT_ONCE) == 1
    assert await shop.fetchval("SELECT keys FROM purges") == ["many-items", "item:milk"]
    assert await add_due_purges(shop, AT_ONCE) == 0


async def test_batches_are_bounded_in_keys_and_bytes_and_very_many_changes_drop_everything(
    shop: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = purges.ItemChanges([f"i{n}" for n in range(1_000)], True, 1)
    long = purges.ItemChanges(["€" * 120 + f"{n}" for n in range(1_000)], False, 1)
    for changes, keys in ((short, 1_003), (long, 1_001)):
        batches = list(batches_of(changes))
        assert len({*chain(*batches)}) == sum(map(len, batches)) == keys
        assert max(map(len, batches)) <= purging.MOST_KEYS
        assert max(sum(map(len, batch)) for batch in batches) <= purging.MOST_BYTES
    monkeypatch.setattr(purging, "MOST_ITEMS", 3)
    await upsert_items(shop, [patch(f"i{n}") for n in range(3)])
    assert len(await new_keys(shop)) == 3 + 3
    await upsert_items(shop, [patch(f"i{n}", title="x") for n in range(4)])
    assert await new_keys(shop) == {"catalogue"}
    assert await new_keys(shop) == set()


async def test_many_at_once_make_each_purge_once_and_send_it_once(
    shop: Pool, webhook: Webhook, receiver: Receiver
) -> None:
    for n in range(20):
        await asyncio.gather(
            upsert_items(shop, [patch(f"i{n}")]),
            *(add_due_purges(shop, AT_ONCE) for _ in range(3)),
            *(send_due_purges(shop, webhook) for _ in range(3)),
        )
    await add_due_purges(shop, AT_ONCE)
    await send_due_purges(shop, webhook)
    items = [key for got in receiver.received for key in got.keys if key.startswith("item:")]
    assert sorted(items) == sorted(f"item:i{n}" for n in range(20))
    assert len({got.id for got in receiver.received}) == len(receiver.received)
    assert (await purge_backlog(shop)).waiting == 0


async def test_a_purge_waits_until_the_gateways_know_the_change(
    shop: Pool, webhook: Webhook, receiver: Receiver
) -> None:
    await upsert_items(shop, [patch("milk", title="x")])
    await add_due_purges(shop, timedelta(hours=1))
    assert await send_due_purges(shop, webhook) == 0
    await shop.execute("UPDATE purges SET due_at = due_at - interval '1 hour'")
    assert await send_due_purges(shop, webhook) == 1
    assert receiver.received[0].keys == ["many-items", "item:milk"]


async def no_pause(pool: Pool) -> None:
    """Let the pause be over."""
    await pool.execute("UPDATE purge_progress SET paused_until = now()")


async def test_a_failed_purge_is_sent_again_after_a_pause_and_meanwhile_changes_become_one(
    shop: Pool, webhook: Webhook, receiver: Receiver
) -> None:
    receiver.will_answer(500, 503)
    await upsert_items(shop, [patch("milk", title="x")])
    await add_due_purges(shop, AT_ONCE)
    assert await send_due_purges(shop, webhook) == 0
    assert await send_due_purges(shop, webhook) == 0
    assert len(receiver.received) == 1, "it is paused"
    for title in ("a", "b"):
        await upsert_items(shop, [patch("soap", title=title), patch("bread", title=title)])
        assert await add_due_purges(shop, AT_ONCE) == 0, "what changes while the receiver fails waits in the items"
    await no_pause(shop)
    assert await send_due_purges(shop, webhook) == 0
    backlog = await purge_backlog(shop)
    assert (backlog.waiting, backlog.dead, backlog.error) == (1, 0, "The answer is 503.")
    await no_pause(shop)
    assert await send_due_purges(shop, webhook) == 1
    assert len({(got.id, got.body) for got in receiver.received}) == 1, "each attempt has the same id and body"
    assert await add_due_purges(shop, AT_ONCE) == 1
    assert await send_due_purges(shop, webhook) == 1
    assert set(receiver.received[-1].keys) == LISTS | {"many-items", "item:soap", "item:bread"}


async def test_the_pause_doubles_up_to_five_minutes_and_ends_with_a_success(
    shop: Pool, webhook: Webhook, receiver: Receiver
) -> None:
    async def pause() -> float:
        return float(
            await shop.fetchval("SELECT coalesce(extract(epoch FROM paused_until - now()), 0) FROM purge_progress")
        )

    await upsert_items(shop, [patch("milk", title="x")])
    await add_due_purges(shop, AT_ONCE)
    for failed in range(12):
        receiver.will_answer(500)
        await no_pause(shop)
        await send_due_purges(shop, webhook)
        assert min(2.0**failed, 300) * 0.5 - 3 <= await pause() <= min(2.0**failed, 300)
    receiver.will_answer(b"HTTP/1.1 429 X\r\nretry-after: 290\r\ncontent-length: 0\r\n\r\n")
    await no_pause(shop)
    await send_due_purges(shop, webhook)
    assert 280 < await pause() <= 300
    await no_pause(shop)
    assert await send_due_purges(shop, webhook) == 1
    assert await pause() == 0


async def test_a_refused_purge_dies_at_once_and_the_next_is_tried(
    shop: Pool, webhook: Webhook, receiver: Receiver
) -> None:
    receiver.will_answer(400)
    await upsert_items(shop, [patch("milk", title="x")])
    await add_due_purges(shop, AT_ONCE)
    await upsert_items(shop, [patch("soap", title="x")])
    await add_due_purges(shop, AT_ONCE)
    assert await send_due_purges(shop, webhook) == 0
    backlog = await purge_backlog(shop)
    assert (backlog.waiting, backlog.dead, backlog.error) == (1, 1, "The answer is 400.")
    await no_pause(shop)
    assert await send_due_purges(shop, webhook) == 1
    assert [got.keys[-1] for got in receiver.received] == ["item:milk", "item:soap"]


async def test_a_receiver_that_is_gone_gets_nothing_for_an_hour(
    shop: Pool, webhook: Webhook, receiver: Receiver
) -> None:
    receiver.will_answer(410)
    for id in ("milk", "soap"):
        await upsert_items(shop, [patch(id, title="x")])
        await add_due_purges(shop, AT_ONCE)
    assert await send_due_purges(shop, webhook) == 0
    assert (await purge_backlog(shop))[::2] == (0, 2)
    await upsert_items(shop, [patch("milk", title="y")])
    assert await add_due_purges(shop, AT_ONCE) == 0
    await shop.execute("UPDATE purge_progress SET paused_until = paused_until - interval '59 minutes'")
    assert await add_due_purges(shop, AT_ONCE) == 0
    await shop.execute("UPDATE purge_progress SET paused_until = paused_until - interval '1 minute'")
    assert await add_due_purges(shop, AT_ONCE) == 1
    assert await send_due_purges(shop, webhook) == 1


async def test_a_purge_dies_when_it_has_failed_for_an_hour(shop: Pool, webhook: Webhook, receiver: Receiver) -> None:
    receiver.will_answer(500, 500)
    await upsert_items(shop, [patch("milk", title="x")])
    await add_due_purges(shop, AT_ONCE)
    await shop.execute("UPDATE purges SET made_at = made_at - interval '59 minutes'")
    await send_due_purges(shop, webhook)
    assert (await purge_backlog(shop))[::2] == (1, 0)
    await shop.execute("UPDATE purges SET made_at = made_at - interval '1 minute'")
    await no_pause(shop)
    await send_due_purges(shop, webhook)
    assert (await purge_backlog(shop))[::2] == (0, 1)


async def test_the_outbox_is_bounded(shop: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "MOST_WAITING", 2)
    for title in ("a", "b", "c", "d"):
        await upsert_items(shop, [patch("milk", title=title)])
        await add_due_purges(shop, AT_ONCE)
    assert (await purge_backlog(shop)).waiting == 2
    await shop.execute("UPDATE purges SET dead_at = now()")
    monkeypatch.setattr(purges, "MOST_DEAD", 1)
    await delete_old_purges(shop)
    assert await shop.fetchval("SELECT array_agg(keys) FROM purges") == [["many-items", "item:milk"]]
    await shop.execute("UPDATE purges SET made_at = made_at - interval '1 day'")
    await delete_old_purges(shop)
    assert (await purge_backlog(shop)).dead == 0


async def test_a_purge_whose_sender_ended_is_sent_again(
    shop: Pool, webhook: Webhook, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purges, "LEASE", timedelta(seconds=0.2))
    await upsert_items(shop, [patch("milk", title="x")])
    await add_due_purges(shop, AT_ONCE)
    assert await purges.lease_purge(shop) is not None
    assert await send_due_purges(shop, webhook) == 0

    async def again() -> bool:
        return await send_due_purges(shop, webhook) == 1

    await eventually(again)
    assert len(receiver.received) == 1

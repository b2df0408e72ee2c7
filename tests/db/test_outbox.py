"""The outbox: nothing lost, nothing twice in hand."""

from uuid import uuid4

import asyncpg

from db.outbox import count_envelopes, delete_envelopes, keep_envelope, take_envelopes
from db.postgres import transaction


async def test_messages_come_out_in_the_order_and_under_the_ids_they_went_in(pool: asyncpg.Pool) -> None:
    ids = [uuid4() for _ in range(5)]
    for number, id in enumerate(ids):
        await keep_envelope(pool, id, bytes([number]))
    parcels = await take_envelopes(pool, 3)
    assert [(parcel.task_id, parcel.body) for parcel in parcels] == [(ids[n], bytes([n])) for n in range(3)]


async def test_the_same_message_keep_envelope_twice_waits_once(pool: asyncpg.Pool) -> None:
    id = uuid4()
    await keep_envelope(pool, id, b"a")
    await keep_envelope(pool, id, b"a")
    assert await count_envelopes(pool) == 1


async def test_two_that_empty_it_at_once_never_hold_the_same_message(pool: asyncpg.Pool) -> None:
    for _ in range(4):
        await keep_envelope(pool, uuid4(), b"a")
    async with pool.acquire() as one, pool.acquire() as other, transaction(one), transaction(other):
        first, second = await take_envelopes(one, 3), await take_envelopes(other, 3)
    assert len(first) == 3 and len(second) == 1
    assert not {parcel.id for parcel in first} & {parcel.id for parcel in second}


async def test_what_was_confirmed_is_gone_and_the_rest_stays(pool: asyncpg.Pool) -> None:
    for _ in range(3):
        await keep_envelope(pool, uuid4(), b"a")
    parcels = await take_envelopes(pool)
    await delete_envelopes(pool, [parcel.id for parcel in parcels[:2]])
    assert [parcel.id for parcel in await take_envelopes(pool)] == [parcels[2].id]

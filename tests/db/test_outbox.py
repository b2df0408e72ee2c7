"""The outbox: no envelope is lost, and no two gateways hold the same one."""

from uuid import UUID, uuid4

from db.outbox import count_envelopes, delete_envelopes, keep_envelope, take_envelopes
from db.postgres import Connection, Pool, transaction


async def put(connection: Connection, id: UUID, text: bytes = b"a") -> None:
    await keep_envelope(connection, id, text, b"for the release before: " + text)


async def test_envelopes_are_taken_in_order_and_under_their_ids(pool: Pool) -> None:
    ids = [uuid4() for _ in range(5)]
    for number, id in enumerate(ids):
        await put(pool, id, bytes([number]))
    rows = await take_envelopes(pool, 3)
    assert [(row.message_id, row.envelope) for row in rows] == [(ids[n], bytes([n])) for n in range(3)]
    assert [row.body for row in rows] == [b"for the release before: " + bytes([n]) for n in range(3)]


async def test_the_same_envelope_put_twice_waits_once(pool: Pool) -> None:
    id = uuid4()
    await put(pool, id)
    await put(pool, id)
    assert await count_envelopes(pool) == 1


async def test_two_gateways_never_take_the_same_envelope_at_once(pool: Pool) -> None:
    for _ in range(4):
        await put(pool, uuid4())
    async with pool.acquire() as one, pool.acquire() as other, transaction(one), transaction(other):
        first, second = await take_envelopes(one, 3), await take_envelopes(other, 3)
    assert len(first) == 3 and len(second) == 1
    assert not {row.id for row in first} & {row.id for row in second}


async def test_confirmed_envelopes_are_deleted_and_the_others_stay(pool: Pool) -> None:
    for _ in range(3):
        await put(pool, uuid4())
    rows = await take_envelopes(pool)
    await delete_envelopes(pool, [row.id for row in rows[:2]])
    assert [row.id for row in await take_envelopes(pool)] == [rows[2].id]

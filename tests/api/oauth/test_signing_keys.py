"""Signing keys: made once, sealed, rotated, and trusted only when they are ours."""

import asyncio
import sys
from datetime import timedelta

import orjson
import pytest
from joserfc.jwk import RSAKey

from api.oauth.clients.activity import ClientActivity
from api.oauth.tokens.signing_keys import SIGNS_AFTER, SIGNS_SOON, Sealer, SigningKeys, generate_key
from api.oauth.tokens.upkeep import Upkeep
from db.postgres import Pool, connect_pool
from db.signing_keys import MAX_KEYS, KeysRefused

SECRET = "k" * 32
START = """
import asyncio, sys
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from db.postgres import connect_pool

async def start():
    async with await connect_pool(sys.argv[1], size=1) as pool:
        keys = SigningKeys(Sealer("k" * 32))
        await keys.start(pool)
        print(keys.signing.kid)

asyncio.run(start())
"""


async def started(pool: Pool, secret: str = SECRET) -> SigningKeys:
    keys = SigningKeys(Sealer(secret))
    await keys.start(pool)
    return keys


async def age(pool: Pool, by: timedelta) -> None:
    """Move the times of all keys into the past."""
    await pool.execute(
        "UPDATE oauth_keys SET created_at = created_at - $1::interval, retired_at = retired_at - $1,"
        " signs_from = signs_from - $1, revoked_at = revoked_at - $1",
        by,
    )


async def rotate(pool: Pool) -> str | None:
    """A new key that signs in ten seconds."""
    return await SigningKeys(Sealer(SECRET)).rotate(pool, SIGNS_SOON)


def kids(keys: SigningKeys) -> list[str]:
    return [key["kid"] for key in keys.jwks()["keys"]]


async def test_processes_that_start_at_once_share_one_key(pool: Pool, postgres_url: str) -> None:
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, postgres_url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    answers = [await process.communicate() for process in running]
    assert {process.returncode for process in running} == {0}, answers
    assert len({out.split()[-1] for out, _ in answers}) == 1
    assert await pool.fetchval("SELECT count(*) FROM oauth_keys") == 1


async def test_many_connections_at_once_make_one_key(postgres_url: str, pool: Pool) -> None:
    async with await connect_pool(postgres_url, size=8) as wide:
        made = await asyncio.gather(*(started(wide) for _ in range(8)))
    assert len({keys.signing.kid for keys in made}) == 1
    assert await pool.fetchval("SELECT count(*) FROM oauth_keys") == 1


async def test_the_private_key_is_sealed(pool: Pool) -> None:
    keys = await started(pool)
    row = await pool.fetchrow("SELECT sealed, public FROM oauth_keys")
    assert row["public"] == keys.jwks()["keys"][0]
    private = keys.signing.as_dict(private=True)
    assert str(private["d"]) not in row["sealed"] + str(row["public"])
    assert row["sealed"].count(".") == 4  # a JWE
    assert Sealer("another secret of thirty-two chars").open(Sealer(SECRET).seal(keys.signing)) is None


@pytest.mark.parametrize("damage", ["", "x", "a.b.c.d.e", "e30....", "tail", "kid"])
async def test_a_damaged_or_renamed_key_is_not_opened(damage: str) -> None:
    sealer, key = Sealer(SECRET), generate_key()
    good = sealer.seal(key)
    sealed = good.sealed[:-4] + "AAAA" if damage == "tail" else good.sealed if damage == "kid" else damage
    kid = "another" if damage == "kid" else good.kid
    assert sealer.open(type(good)(kid, sealed, good.public)) is None


async def test_a_public_key_planted_in_the_database_is_not_trusted(pool: Pool) -> None:
    keys = await started(pool)
    ours, theirs = keys.signing.kid, generate_key()
    await pool.execute("UPDATE oauth_keys SET public = $1", theirs.as_dict(private=False))
    await pool.execute(
        "INSERT INTO oauth_keys (kid, sealed, public) VALUES ($1, 'x', $2)", theirs.kid, theirs.as_dict()
    )
    again = await started(pool)
    assert [key["kid"] for key in again.jwks()["keys"]] == [ours]
    assert again.verifying(str(theirs.kid)) is None


async def test_another_secret_gets_a_key_of_its_own(pool: Pool) -> None:
    first = await started(pool)
    second = await started(pool, "q" * 32)
    assert first.signing.kid != second.signing.kid
    assert (await started(pool)).signing.kid == first.signing.kid


async def test_a_changed_secret_keeps_the_key_and_seals_it_anew(pool: Pool) -> None:
    first = await started(pool)
    secret, created = "q" * 32, await pool.fetchval("SELECT created_at FROM oauth_keys")
    both = SigningKeys(Sealer(secret, SECRET))
    await both.start(pool)
    assert both.signing.kid == first.signing.kid
    after = await started(pool, secret)
    assert after.signing.kid == first.signing.kid, "the secret before is not needed any more"
    assert await pool.fetchval("SELECT created_at FROM oauth_keys") == created
    await first.refresh(pool)
    assert first.signing.kid == after.signing.kid, "a process that knows the old secret only goes on"
    assert first.verifying(str(after.signing.kid)) is not None


async def test_a_key_that_no_accepted_secret_opens_is_left_alone(pool: Pool) -> None:
    await started(pool)
    sealed = await pool.fetchval("SELECT sealed FROM oauth_keys")
    both = SigningKeys(Sealer("q" * 32, "r" * 32))
    await both.start(pool)
    assert sealed in [row["sealed"] for row in await pool.fetch("SELECT sealed FROM oauth_keys")]


async def test_a_restart_keeps_the_key(pool: Pool) -> None:
    assert (await started(pool)).signing.kid == (await started(pool)).signing.kid


async def test_a_new_key_is_published_before_it_signs(pool: Pool) -> None:
    keys = await started(pool)
    await age(pool, timedelta(days=30))
    old = keys.signing.kid
    await rotate(pool)
    await keys.refresh(pool)
    assert keys.signing.kid == old
    assert len(keys.jwks()["keys"]) == 2
    await age(pool, timedelta(seconds=11))
    await keys.refresh(pool)
    assert keys.signing.kid != old
    assert {key["kid"] for key in keys.jwks()["keys"]} == {old, keys.signing.kid}


async def test_a_retired_key_verifies_until_its_last_token_has_expired(pool: Pool) -> None:
    keys = await started(pool)
    old = str(keys.signing.kid)
    await rotate(pool)
    await keys.refresh(pool)
    await age(pool, timedelta(hours=23))
    await keys.refresh(pool)
    assert isinstance(keys.verifying(old), RSAKey)
    await age(pool, timedelta(hours=2))
    await keys.refresh(pool)
    assert keys.verifying(old) is None
    assert [key["kid"] for key in keys.jwks()["keys"]] == [keys.signing.kid]


async def test_another_process_learns_of_a_rotation(pool: Pool) -> None:
    here, there = await started(pool), await started(pool)
    await age(pool, timedelta(days=1))
    await rotate(pool)
    await here.refresh(pool)
    await age(pool, timedelta(seconds=11))
    await there.refresh(pool)
    await here.refresh(pool)
    assert here.signing.kid == there.signing.kid


async def test_a_program_that_keeps_the_set_for_five_minutes_knows_every_key_that_signs(pool: Pool) -> None:
    keys = await started(pool)
    await keys.rotate(pool, SIGNS_AFTER)
    for _ in range(4):
        await keys.refresh(pool)
        kept = kids(keys)
        for _ in range(5):
            await age(pool, timedelta(minutes=1))
            await keys.refresh(pool)
            assert keys.signing.kid in kept
    assert len(kept) == 2


async def test_keys_that_rotate_at_once_become_one(postgres_url: str, pool: Pool) -> None:
    keys = await started(pool)
    async with await connect_pool(postgres_url, size=8) as wide:
        made = await asyncio.gather(*(rotate(wide) for _ in range(8)))
    await keys.refresh(pool)
    assert len(set(made)) == 1
    assert set(kids(keys)) == {keys.signing.kid, made[0]}


async def test_a_key_that_waits_can_be_brought_forward(pool: Pool) -> None:
    keys = await started(pool)
    old = keys.signing.kid
    waiting = await keys.rotate(pool, SIGNS_AFTER)
    await age(pool, timedelta(seconds=11))
    await keys.refresh(pool)
    assert keys.signing.kid == old
    assert await keys.rotate(pool, SIGNS_SOON) == waiting
    await age(pool, timedelta(seconds=11))
    await keys.refresh(pool)
    assert keys.signing.kid == waiting


async def test_there_are_never_more_keys_than_can_be_published(pool: Pool) -> None:
    keys = await started(pool)
    for _ in range(MAX_KEYS - 1):
        await rotate(pool)
        await age(pool, timedelta(minutes=2))
    with pytest.raises(KeysRefused, match="10 keys"):
        await rotate(pool)
    await keys.refresh(pool)
    assert len(kids(keys)) == MAX_KEYS
    await age(pool, timedelta(days=2))
    assert await rotate(pool)


async def test_another_secret_makes_no_key_that_the_gateways_could_not_open(pool: Pool) -> None:
    keys = await started(pool)
    stranger = SigningKeys(Sealer("q" * 32))
    for change in (stranger.rotate(pool, SIGNS_SOON), stranger.revoke(pool, str(keys.signing.kid))):
        with pytest.raises(KeysRefused, match="PENCHANT_SECRET"):
            await change
    assert await pool.fetchval("SELECT count(*) FROM oauth_keys WHERE revoked_at IS NULL AND retired_at IS NULL") == 1


@pytest.mark.parametrize("waiting", [False, True])
async def test_the_tokens_of_a_revoked_key_are_refused_and_another_key_signs_at_once(pool: Pool, waiting: bool) -> None:
    keys = await started(pool)
    stolen = str(keys.signing.kid)
    next_ = await keys.rotate(pool, SIGNS_AFTER) if waiting else None
    successor = await keys.revoke(pool, stolen)
    await keys.refresh(pool)
    assert keys.verifying(stolen) is None and stolen not in kids(keys)
    assert keys.signing.kid == successor == (next_ or successor) != stolen
    await age(pool, timedelta(days=30))
    await keys.refresh(pool)
    assert keys.signing.kid == successor, "it is not retired with the one before it"
    with pytest.raises(KeysRefused):
        await keys.revoke(pool, stolen)
    with pytest.raises(KeysRefused):
        await keys.revoke(pool, "no-such-key")


async def test_when_the_next_key_is_revoked_the_one_before_signs_on(pool: Pool) -> None:
    keys = await started(pool)
    old = keys.signing.kid
    waiting = await rotate(pool)
    assert await keys.revoke(pool, str(waiting)) == old
    await age(pool, timedelta(days=30))
    await keys.refresh(pool)
    assert (keys.signing.kid, kids(keys)) == (old, [old])


async def test_a_key_is_replaced_when_it_is_old_by_one_of_the_processes(pool: Pool, postgres_url: str) -> None:
    keys = await started(pool)
    first, activity = keys.signing.kid, ClientActivity()
    for days, expected in ((None, 1), (90, 1)):
        await Upkeep(pool, keys, activity, timedelta(days=days) if days else None).replace_old_key()
        assert await pool.fetchval("SELECT count(*) FROM oauth_keys") == expected
    await age(pool, timedelta(days=91))
    await Upkeep(pool, keys, activity, None).replace_old_key()
    assert await pool.fetchval("SELECT count(*) FROM oauth_keys") == 1
    async with await connect_pool(postgres_url, size=4) as wide:
        each = [Upkeep(wide, await started(wide), activity, timedelta(days=90)) for _ in range(4)]
        await asyncio.gather(*(one.replace_old_key() for one in each))
    await keys.refresh(pool)
    assert len(kids(keys)) == 2 and keys.signing.kid == first
    await age(pool, timedelta(minutes=7))
    await keys.refresh(pool)
    assert keys.signing.kid != first


async def test_the_published_set_is_json(pool: Pool) -> None:
    assert b'"d"' not in orjson.dumps((await started(pool)).jwks())

"""What a gateway keeps of the OAuth tables: it misses no change, and reads no more than what is new."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.http import oauth_changes
from api.http.oauth_changes import Copy, OAuthChanges
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from api.oauth.tokens.verifier import Verifier
from core.errors import StoreUnavailable
from db import oauth_changes as stored
from db import revocations
from db.clients import Client, create_client
from db.oauth_changes import KEPT, delete_old_changes
from db.postgres import Connection, Pool, transaction


async def revoke(connection: Connection, *tokens: str) -> None:
    await connection.execute(
        "INSERT INTO oauth_revocations (jti, expires_at) SELECT unnest($1::text[]), now() + interval '1 hour'",
        list(tokens),
    )


@pytest.fixture
async def changes(pool: Pool) -> OAuthChanges:
    """What a gateway keeps, as of its first read."""
    opened = OAuthChanges(pool)
    await opened.read()
    return opened


async def test_a_transaction_that_ends_late_is_not_missed(pool: Pool, changes: OAuthChanges) -> None:
    async with transaction(pool) as slow:
        await revoke(slow, "slow")
        await revoke(pool, "quick")
        await changes.read()
        assert changes.tokens == {"quick"}
    await changes.read()
    assert changes.tokens == {"quick", "slow"}


async def test_a_first_read_and_one_of_many_changes_read_all_in_pages(
    pool: Pool, changes: OAuthChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "PAGE", 3)
    monkeypatch.setattr(stored, "MOST", 5)
    await create_client(pool, Client("shop", None, (), ()))
    names = {f"t{number}" for number in range(10)}
    await revoke(pool, *names)
    for number in range(7):
        await pool.execute(
            "INSERT INTO oauth_families (id, client_id, user_id, scopes, auth_time, redirect_uri, code_challenge,"
            " code_hash, code_expires_at, tokens_until, kept_until) VALUES ($1, 'shop', 'u1', '{openid}', now(), '',"
            " '', $2, now(), now() + interval '1 hour', now() + interval '1 hour')",
            f"f{number}",
            b"%d" % number,
        )
    await pool.execute("UPDATE oauth_families SET revoked_at = now()")
    for kept in (changes, OAuthChanges(pool)):
        await kept.read()
        assert kept.tokens == names
        assert kept.families == {f"f{number}" for number in range(7)}


async def test_what_has_expired_is_forgotten(
    pool: Pool, changes: OAuthChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    await revoke(pool, "old", "new")
    await changes.read()
    await pool.execute("UPDATE oauth_revocations SET expires_at = now() - interval '1 second' WHERE jti = 'old'")
    monkeypatch.setattr(oauth_changes, "ALL_EVERY", 0.0)
    await changes.read()
    assert changes.tokens == {"new"}


async def test_a_database_that_was_restored_is_read_anew(pool: Pool, changes: OAuthChanges) -> None:
    changes._next += 1_000_000  # as far as the one before had come
    await revoke(pool, "t1")
    await changes.read()
    await revoke(pool, "t2")
    await changes.read()
    assert changes.tokens == {"t1", "t2"}


async def test_only_what_has_changed_is_read_again(pool: Pool, changes: OAuthChanges) -> None:
    reads: list[str] = []

    def read(name: str) -> Callable[[], Awaitable[None]]:
        async def note() -> None:
            reads.append(name)

        return note

    copies = [Copy(changes, (kind,), read(kind)) for kind in oauth_changes.KINDS]

    async def renewed() -> list[str]:
        reads.clear()
        await changes.read()
        for copy in copies:
            await copy.renew()
        return list(reads)

    assert await renewed() == ["clients", "keys", "issuers"]
    assert await renewed() == []
    async with transaction(pool) as slow:
        await slow.execute("SELECT pg_current_xact_id()")
        await create_client(pool, Client("shop", None, (), ()))
        assert await renewed() == ["clients"]
        assert await renewed() == [], "the change is found again while an older transaction is open"
    await pool.execute("UPDATE oauth_clients SET scopes = '{catalog:read}'")
    assert await renewed() == ["clients"]
    await pool.execute("INSERT INTO oauth_keys (kid, sealed, public) VALUES ('k', '', '{}')")
    assert await renewed() == ["keys"]
    await pool.execute("DELETE FROM oauth_keys")
    assert await renewed() == ["keys"]
    await revoke(pool, "t1")
    assert await renewed() == []


async def test_a_read_that_fails_is_made_again(changes: OAuthChanges) -> None:
    tried: list[int] = []

    async def fail_once() -> None:
        tried.append(1)
        if len(tried) == 1:
            raise StoreUnavailable("postgres")

    copy = Copy(changes, ("clients",), fail_once)
    with pytest.raises(StoreUnavailable):
        await copy.renew()
    await copy.renew()
    await copy.renew()
    assert len(tried) == 2


class Counted:
    """A pool that counts its statements."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.statements = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("fetch"):
            self.statements += 1
        return getattr(self._pool, name)


async def test_a_gateway_that_learns_nothing_new_runs_one_statement(pool: Pool) -> None:
    keys, counted = SigningKeys(Sealer("k" * 32)), Counted(pool)
    async with transaction(pool) as slow:
        await slow.execute("SELECT pg_current_xact_id()")  # older than the key: its change is found again and again
        await keys.start(pool)
        verifier = Verifier(counted, keys, "https://shop.example", poll=0.0)
        await verifier.refresh()
        before = counted.statements
        await verifier.refresh()
        assert counted.statements - before == 1
    await verifier.close()


async def test_old_changes_are_deleted(pool: Pool) -> None:
    await revoke(pool, "t1", "t2")
    await pool.execute("UPDATE oauth_changes SET changed_at = now() - $1::interval * 2 WHERE id = 't1'", KEPT)
    assert await delete_old_changes(pool) == 1
    assert await pool.fetchval("SELECT array_agg(id) FROM oauth_changes WHERE kind = 'token'") == ["t2"]

"""The advisory locks of Postgres: every number this program locks under, in one table."""

from enum import IntEnum

from db.postgres import Connection


class AdvisoryLock(IntEnum):
    """A lock's number. Another version of this program may run beside this one: a number never changes its meaning."""

    DEPLOYMENT = 7305001
    """One deployment migrates the schema at a time."""
    PARTITIONS = 7305002
    """One statement makes monthly partitions at a time; `0001_first.sql` takes it."""
    ITEM_WRITERS = 7305003
    """Writers of items hold it until they commit, so that `changed_seq` grows in the order of commits."""
    DECISIONS = 7305004
    """One decision about what serves at a time, whichever slot it is about."""
    LOADS = 7305005
    """One process loads a file at a time; with a hash of the load's id, held as long as the connection."""
    JOB_REQUESTS = 7305006
    """One request or schedule of a training at a time, so that a waiting job is not queued twice."""
    BEAT = 7305007
    """One beat sends the periodic tasks; held as long as its connection."""
    MONTHS_IN_USE = 7305008
    """Loads share it, so that the months they make stay until they are filled. Who drops empty months has it alone.

    So has who takes a load back: no load then finds an event known that is about to be deleted.
    """
    USERS = 7305010
    """One transaction joins guests to a user, or erases the user, at a time; with a hash of the user's id."""
    MERGES = 7305012
    """One transaction merges users at a time; joins of guests and erasures share it, so that owners stay the same."""
    SEGMENTS = 7305014
    """One transaction changes segments at a time: there are never too many, and changes follow the order of commits."""
    MEMBERS = 7305015
    """One transaction erases users from segments, or ends a snapshot, at a time: it keeps nobody who was erased."""
    PLACEMENTS = 7305016
    """One transaction changes placements at a time, so that changes are numbered in the order of commits."""
    RULES = 7305017
    """One transaction changes rules at a time, so that changes are numbered in the order of commits."""
    FIGURES = 7305019
    """One transaction writes the figures that segments are about at a time: it puts them in the place of all others."""
    LAKE_WRITER = 7305020
    """One process writes to the lake at a time; held as long as its connection."""
    SIGNING_KEYS = 0x6F61757468
    """One process makes signing keys at a time, however many start at once."""


async def lock_transaction(connection: Connection, lock: AdvisoryLock, name: str | None = None) -> None:
    """Wait for the lock; it is held until the transaction ends. With `name`: one lock per name under this number."""
    if name is None:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock)
    else:
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", lock, name)


async def lock_transaction_shared(connection: Connection, lock: AdvisoryLock) -> None:
    """Wait until nobody has the lock alone; it is shared until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", lock)


async def try_lock_session_shared(connection: Connection, lock: AdvisoryLock) -> bool:
    """Whether nobody has the lock alone; then it is shared until the connection is closed."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock_shared($1)", lock))


async def try_lock_transaction(connection: Connection, lock: AdvisoryLock) -> bool:
    """Whether the transaction has the lock, alone, until it ends."""
    return bool(await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock))


async def try_lock_session(connection: Connection, lock: AdvisoryLock, name: str | None = None) -> bool:
    """Whether the connection has the lock now; it is held until the connection is closed.

    With `name`: one lock per name under this number.
    """
    if name is None:
        return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock))
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext($2))", lock, name))


async def unlock_session(connection: Connection, lock: AdvisoryLock) -> None:
    """Release a lock that `try_lock_session` took."""
    await connection.fetchval("SELECT pg_advisory_unlock($1)", lock)

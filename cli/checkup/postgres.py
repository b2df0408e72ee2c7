"""Postgres: the server, its clock, the schema, the outbox, dead events, erasures, purges, jobs."""

from datetime import UTC, datetime, timedelta
from time import perf_counter

import asyncpg

from cli.checkup.findings import Finding, address, fail, ok, warn
from core import clock
from core.counts import people_in_words
from core.errors import StoreFull, StoreUnavailable
from core.settings import Stores
from db import checkup
from db.checkup import Server
from db.dead_events import count_dead_events
from db.erasures import overdue_erasures
from db.jobs import latest_jobs
from db.list_jobs import LISTS
from db.migrate import head, revisions
from db.postgres import Connection, connect_pool
from db.purges import purge_backlog

OLDEST_VERSION = 150000
SKEW_TO_WARN, SKEW_TO_FAIL = timedelta(seconds=1), timedelta(seconds=30)
MONTHS_AHEAD = timedelta(days=31)
OUTBOX_DEADLINE = timedelta(minutes=1)
PURGE_DEADLINE = timedelta(minutes=1)
ERASURE_DEADLINE = timedelta(days=2)


async def check_postgres(stores: Stores) -> list[Finding]:
    """Every check of Postgres; with a missing or old schema only the first ones."""
    url = stores.postgres_url.get_secret_value()
    where = address(url)
    try:
        pool = await connect_pool(url, size=1, timeout=stores.postgres_timeout)
    except (StoreUnavailable, ValueError, asyncpg.PostgresError) as error:
        advice = "Start it, or correct PENCHANT_POSTGRES_URL; without it nothing is answered."
        return [fail("postgres", f"{where}: {error}", advice)]
    async with pool:
        before, began = clock.now(), perf_counter()
        server = await checkup.server(pool)
        took = timedelta(seconds=perf_counter() - began)
        found = [*_check_server(where, server, took), _check_clock(server.now - (before + took / 2))]
        found.append(await _check_space(pool))
        schema = await check_schema(pool)
        if schema.verdict == "FAIL":
            return [*found, schema]
        found += [schema, *await _check_partitions(pool), await _check_outbox(pool), await _check_dead(pool)]
        found += [await _check_erasures(pool), await _check_purges(pool)]
        return [*found, *await _check_jobs(pool)]


def _check_server(where: str, server: Server, took: timedelta) -> list[Finding]:
    found = check_version(f"{where}, version {server.version}", server.number, took)
    if found.verdict == "FAIL":
        return [found]
    used = f"{server.connections} of {server.most_connections} connections are in use"
    if server.connections > 0.8 * server.most_connections:
        return [found, warn("connections", used, "Raise max_connections or lower PENCHANT_POSTGRES_POOL.")]
    return [found, ok("connections", used)]


def check_version(says: str, number: int, took: timedelta) -> Finding:
    """Whether a server of this version, as 180001, can be used."""
    if number < OLDEST_VERSION:
        return fail("postgres", says, "Upgrade it: 15 is the oldest version that works.")
    return ok("postgres", f"{says}, answers in {took.total_seconds() * 1000:.1f} ms")


def _check_clock(skew: timedelta) -> Finding:
    says = f"this machine and Postgres are {abs(skew.total_seconds()):.3f} s apart"
    advice = "Let both follow a time server (chrony, systemd-timesyncd): tokens and events are judged by the clock."
    if abs(skew) > SKEW_TO_FAIL:
        return fail("clock", says, advice)
    return warn("clock", says, advice) if abs(skew) > SKEW_TO_WARN else ok("clock", says)


async def _check_space(connection: Connection) -> Finding:
    try:
        await checkup.check_space(connection)
    except StoreFull as error:
        advice = "Free space on its disk, or enlarge it: until then events wait in the broker, none is lost."
        return fail("postgres disk", str(error), advice)
    except StoreUnavailable as error:
        return warn("postgres disk", f"could not be checked: {error}", "Let Postgres write temporary files of 1 MB.")
    return ok("postgres disk", "takes new data")


async def check_schema(connection: Connection) -> Finding:
    """Whether the schema is the one that this program needs."""
    found, newest = await checkup.revision(connection), head()
    if found is None:
        return fail("schema", "the database is empty", "Run `penchant migrate`.")
    if found == newest:
        return ok("schema", f"at {found}, the newest revision")
    if found in revisions():
        return fail("schema", f"at {found}, this program needs {newest}", "Run `penchant migrate`.")
    return warn("schema", f"at {found}, which this program does not know", "Upgrade this program.")


async def _check_partitions(connection: Connection) -> list[Finding]:
    missing = await checkup.missing_months(connection, clock.now(), clock.now() + MONTHS_AHEAD)
    if missing:
        return [warn("partitions", f"none for {', '.join(missing)}", "`penchant worker` makes them when it starts.")]
    return [ok("partitions", "this month and the next have one")]


async def _check_outbox(connection: Connection) -> Finding:
    waiting = await checkup.outbox(connection)
    says = f"{waiting.messages} messages wait, the oldest for {waiting.oldest.total_seconds():.0f} s"
    if waiting.oldest > OUTBOX_DEADLINE:
        return warn("outbox", says, "The broker does not accept them: see its findings. A gateway sends them later.")
    return ok("outbox", says if waiting.messages else "empty")


async def _check_dead(connection: Connection) -> Finding:
    dead = await count_dead_events(connection)
    if not dead:
        return ok("dead events", "none")
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dead.items()))
    advice = "See `penchant events dead list` and `show`, then `replay` or `discard` them (docs/events.md)."
    return warn("dead events", f"{sum(dead.values())} could not be stored: {reasons}", advice)


async def _check_erasures(connection: Connection) -> Finding:
    overdue = await overdue_erasures(connection, clock.now() - ERASURE_DEADLINE)
    if not overdue:
        return ok("erasures", "none is overdue")
    advice = "`penchant worker` and `penchant beat` continue them, `penchant trainer` in the lake; see their logs."
    return warn(
        "erasures", f"{people_in_words(overdue)} not erased everywhere after {ERASURE_DEADLINE.days} days", advice
    )


async def _check_purges(connection: Connection) -> Finding:
    backlog = await purge_backlog(connection)
    waits = f"{backlog.waiting} purges wait, the oldest for {backlog.oldest.total_seconds():.0f} s"
    if backlog.dead or backlog.oldest > PURGE_DEADLINE:
        advice = "Check `penchant worker`, `penchant beat` and the receiver of the purge webhook (docs/cdn.md)."
        error = f"The last error: {backlog.error}" if backlog.error else "No attempt failed."
        return warn("purges", f"{waits}; {backlog.dead} are dead. {error}", advice)
    return ok("purges", waits if backlog.waiting else "none waits")


async def _check_jobs(connection: Connection) -> list[Finding]:
    jobs = await latest_jobs(connection)
    found = []
    for job in {job.kind: job for job in jobs}.values():
        name = "lists" if job.kind == LISTS else f"training {job.kind}"
        if job.state == "RUNNING" and (job.lease_until or datetime.min.replace(tzinfo=UTC)) < clock.now():
            advice = "Its process ended without finishing the job: the next trainer takes it over."
            found.append(warn(name, f"job {job.id} holds a lease that ran out", advice))
        elif job.state == "FAILED":
            error = (job.error or "without a reason").strip().splitlines()[-1]
            advice = f"Run `penchant {'recommend --all' if job.kind == LISTS else 'train'}` and read its error."
            found.append(warn(name, f"job {job.id} failed: {error}", advice))
        else:
            found.append(ok(name, f"job {job.id}: {job.state.lower()}"))
    return found

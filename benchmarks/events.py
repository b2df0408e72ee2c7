"""Events through GraphQL over HTTP into Postgres, everything on this machine: rate, latency, memory, CPU by part.

Gateway, worker and stores are real processes, fsync on. Every event has an id of its sender's own and is stored. The
rate counts the time until the last one is in Postgres. The reference is `db.events.insert_events` alone, batches of 500
ready-made events on one connection into the same table, in the same run.
"""

import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import typer

from benchmarks import till
from benchmarks.calm import Calm, calm
from benchmarks.figures import Figure
from benchmarks.till import Door, Sent
from cli.local.deployment import Deployment, open_deployment
from cli.local.own_client import register_own_client
from cli.stack.folder import free_ports
from core import clock
from core.contract import read_event
from db.events import insert_events
from db.items import upsert_items
from db.postgres import connect_pool

MINUTES = 8.0
CALL, LINES = 100, 8  # events a call, connections
WARM, SECONDS = 100_000, 60.0  # events, seconds
MANY = 3_000_000  # events over which memory is watched
BARE = 100_000  # events of the reference
BATCH = 500
_STORED = "SELECT count(*) FROM events WHERE source = 'benchmark'"
T = TypeVar("T")


def run(seed: int) -> dict[str, Figure]:
    """Warm up, send for a minute, hold it against the bare insert, send one by one beside queries, send millions."""
    (port,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory(prefix="penchant-benchmark-") as path,
        open_deployment(Path(path) / "site", port) as site,
    ):
        site.start_stores(typer.echo)
        client = register_own_client(site, "benchmark")
        asyncio.run(_fill_catalogue(site))
        site.start_services()
        bench = Bench(site, Door(site.base_url, client.token()), seed)
        bench.bring("warm", WARM)
        figures = bench.rate()
        figures |= bench.calm()
        figures |= bench.memory()
    return figures


class Bench:
    """A running site, and senders in processes of their own."""

    def __init__(self, site: Deployment, door: Door, seed: int) -> None:
        self._site, self._door, self._seed = site, door, seed
        self._url = site.settings["PENCHANT_POSTGRES_URL"]
        self._brought = 0

    def bring(self, prefix: str, most: float, seconds: float = 3600.0) -> tuple[Sent, float, float]:
        """Send, and wait until all of it is stored: what was sent, the seconds of sending and those of all."""
        began = time.monotonic()
        sent = _elsewhere(_send, self._door, self._seed, prefix, seconds, most)
        sending = time.monotonic() - began
        self._brought += sent.events
        asyncio.run(self._all_stored())
        return sent, sending, time.monotonic() - began

    async def _all_stored(self) -> None:
        async with await connect_pool(self._url, size=1, timeout=60) as pool:
            while (left := self._brought - await pool.fetchval(_STORED)) > 0:  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.1 if left < 50_000 else 1)
            assert left == 0, f"{-left} too many are stored"

    def rate(self) -> dict[str, Figure]:
        """Closed loop for a minute, with the backlog brought to nothing; then the bare insert."""
        before = spent()
        sent, sending, whole = self.bring("rate", float("inf"), SECONDS)
        used = spent() - before
        server = {part: seconds for part, seconds in used.items() if part != "sender"}
        rate, bare = sent.events / whole, asyncio.run(_bare_insert(self._url, self._seed))
        share = ", ".join(f"{part} {seconds / sent.events * 1e6:.0f}" for part, seconds in used.most_common())
        return {
            "events_per_s": Figure(rate, "events/s", reference="bar 6,000, aim 12,000; calls of 100, 60 s, drained"),
            "accepted_per_s": Figure(sent.events / sending, "events/s", reference="while sending"),
            "drain_s": Figure(whole - sending, "s", reference="from the last acknowledgement to the last row"),
            "bare_insert_per_s": Figure(bare, "events/s", reference="the reference itself"),
            "ratio_to_storage": Figure(rate / bare, "x", reference="insert of ready-made events = 1; bar .12"),
            "events_per_cpu_s": Figure(
                sent.events / sum(server.values()),
                "events/s",
                reference=f"less the sender; CPU us an event: {share}",
            ),
            "call_p99_ms": Figure(float(np.quantile(sent.milliseconds, 0.99)), "ms", reference="of a call of 100"),
        }

    def calm(self) -> dict[str, Figure]:
        """Events one by one beside queries, at a steady pace."""
        found = _elsewhere(_calm, self._door, self._url, self._seed)
        self._brought += found.events
        return {
            "accept_p50_ms": Figure(found.accept[0], "ms", reference="300 calls of 1 a second beside 30 queries"),
            "accept_p99_ms": Figure(found.accept[1], "ms", reference="bar 60"),
            "visible_p50_ms": Figure(found.visible[0], "ms", reference="from sending to seen in Postgres"),
            "visible_p99_ms": Figure(found.visible[1], "ms", reference="bar 150"),
            "query_p99_ms": Figure(found.query[1], "ms"),
            "known_at_once": Figure(found.known, "share", reference="answers right after that knew of it; bar 1"),
        }

    def memory(self) -> dict[str, Figure]:
        """Resident memory of gateway and worker before and after millions of events."""
        before = resident()
        self.bring("many", MANY)
        grown = {part: size - before[part] for part, size in resident().items()}
        reference = f"over {MANY:,} events; bar 20"
        return {
            f"{part}_growth_mb": Figure(grown[part], "MB", reference=f"{reference}; before: {before[part]:.0f} MB")
            for part in ("gateway", "worker")
        }


def _send(door: Door, seed: int, prefix: str, seconds: float, most: float) -> Sent:
    return asyncio.run(till.send(door, till.bodies(seed, prefix, CALL), CALL, LINES, seconds, most))


def _calm(door: Door, url: str, seed: int) -> Calm:
    return asyncio.run(calm(door, url, seed))


def _elsewhere(work: Callable[..., T], *arguments: object) -> T:
    """What `work` gives, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


async def _fill_catalogue(site: Deployment) -> None:
    async with await connect_pool(site.settings["PENCHANT_POSTGRES_URL"], size=1, timeout=60) as pool:
        items = [{"id": f"item-{number}", "title": f"Item {number}"} for number in range(till.ITEMS)]
        await upsert_items(pool, [{**item, "updated_at": clock.now()} for item in items])  # type: ignore[typeddict-item]


async def _bare_insert(url: str, seed: int) -> float:
    """Events a second of the insert alone."""
    calls = till.bodies(seed, "bare", BATCH)
    raws = [json.loads(next(calls))["variables"]["events"] for _ in range(BARE // BATCH)]
    batches = [[read_event(raw, source="bare", received_at=clock.now()) for raw in call] for call in raws]
    async with await connect_pool(url, size=1, timeout=60) as pool:
        await insert_events(pool, batches.pop())
        began = time.monotonic()
        for batch in batches:
            await insert_events(pool, batch)
        return len(batches) * BATCH / (time.monotonic() - began)


def spent() -> Counter[str]:
    """CPU seconds so far of every part of the site and of the senders: of this process's descendants, by part."""
    found: Counter[str] = Counter()
    for pid, part in _parts().items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[part] += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # type: ignore[assignment]
    return found


def resident() -> dict[str, float]:
    """Megabytes of memory of its own that each part's largest process holds."""
    found: dict[str, float] = {}
    for pid, part in _parts().items():
        status = Path(f"/proc/{pid}/status").read_text()
        size = int(status.partition("RssAnon:")[2].split()[0]) / 1024
        found[part] = max(found.get(part, 0.0), size)
    return found


def _parts() -> dict[int, str]:
    """Of this process and all its descendants, which part of the site each is."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat, words = (entry / "stat").read_text(), (entry / "cmdline").read_text().split("\0")
        except OSError:  # it has ended
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        names[int(entry.name)] = _part(stat.partition("(")[2].rpartition(")")[0], words)
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: names[pid] for pid in ours if pid in names}


def _part(program: str, words: list[str]) -> str:
    for part in ("gateway", "worker"):
        if part in words:
            return part
    known = {"postgres": "postgres", "beam.smp": "rabbitmq", "epmd": "rabbitmq", "valkey-server": "redis"}
    return known.get(program, "sender")

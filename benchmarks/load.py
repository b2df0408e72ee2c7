"""`penchant load events` into Postgres, compared with a binary COPY of the same rows into the same table.

The log is generated from the seed: purchases of 20,000 people over 150 days in time order, no ids, as Parquet. The
loader runs as its own process: it reads, checks, stores, and writes its manifest. The reference is one COPY of the rows
it stored, already encoded, over one connection into the emptied table with the same partitions, keys and indexes.
"""

import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.figures import Figure
from cli.stack.shared import ask, served
from db.history import COLUMNS

MINUTES = 2.0
EVENTS = 1_000_000
REPEATS = 3
DAYS = 150


def run(seed: int) -> dict[str, Figure]:
    """Load and copy in turns; the medians of both rates and of their ratio."""
    with served(["main"]) as socket, tempfile.TemporaryDirectory() as folder:
        url = ask(socket, "main", "postgres")["postgres"]
        log = _log(Path(folder), seed)
        pairs = [asyncio.run(_once(url, log)) for _ in range(REPEATS)]
    loads, copies = zip(*pairs, strict=True)
    ratios = [load / copy for load, copy in pairs]
    return {
        "events_per_s": Figure(float(np.median(loads)), "events/s", min(loads), max(loads), "50,000 on 2 cores"),
        "ratio_to_copy": Figure(float(np.median(ratios)), "ratio", min(ratios), max(ratios), "COPY = 1; goal .5"),
        "copy_rows_per_s": Figure(float(np.median(copies)), "rows/s", min(copies), max(copies), "the reference itself"),
    }


def _log(folder: Path, seed: int) -> Path:
    draw = np.random.default_rng(seed)
    start = datetime.now(UTC) - timedelta(days=DAYS)
    seconds = np.sort(draw.uniform(0, DAYS * 86_400, EVENTS))
    moments = (start.timestamp() * 1e6 + seconds * 1e6).astype(np.int64)
    table = pa.table(
        {
            "type": ["PURCHASE"] * EVENTS,
            "occurredAt": pa.array(moments, pa.timestamp("us", "UTC")),
            "userId": [f"user-{number}" for number in draw.zipf(1.3, EVENTS) % 20_000],
            "itemId": [f"item-{number}" for number in draw.zipf(1.2, EVENTS) % 50_000],
            "orderId": [f"order-{number // 8}" for number in range(EVENTS)],
            "quantity": pa.array(draw.integers(1, 5, EVENTS), pa.int32()),
            "unitPrice": draw.integers(50, 20_000, EVENTS) / 100,
            "currency": ["EUR"] * EVENTS,
        }
    )
    path = folder / "events.parquet"
    pq.write_table(table, path, row_group_size=100_000)
    return path


async def _once(url: str, log: Path) -> tuple[float, float]:
    connection = await asyncpg.connect(url, command_timeout=600)
    try:
        await connection.execute("TRUNCATE events; TRUNCATE loads; CHECKPOINT")
        loaded = _load(url, log)
        encoded = io.BytesIO()
        rows = f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY occurred_at"
        await connection.copy_from_query(rows, output=encoded, format="binary")
        await connection.execute("TRUNCATE events; CHECKPOINT")
        encoded.seek(0)
        began = time.perf_counter()
        await connection.copy_to_table("events", source=encoded, columns=COLUMNS, format="binary")
        return loaded, EVENTS / (time.perf_counter() - began)
    finally:
        await connection.close()


def _load(url: str, log: Path) -> float:
    """Events a second of `penchant load`, by the duration that it reports."""
    words = [sys.executable, "-c", "from cli.main import app; app()", "load", "events", str(log), "--json"]
    stores = {"PENCHANT_POSTGRES_URL": url, "PENCHANT_LOADS_URL": str(log.parent / "loads")}
    done = subprocess.run(words, env={**os.environ, **stores}, capture_output=True, check=True, text=True)
    report = json.loads(done.stdout)
    if report["stored"] != EVENTS:
        raise RuntimeError(f"penchant load stored {report['stored']} of {EVENTS} events")
    return float(EVENTS / report["seconds"])

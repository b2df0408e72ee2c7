"""`penchant load list` shows the loads; `penchant load undo ID` takes a load of events back.

Exit codes of `undo`: 0 it is taken back, now or before, or what it touched is listed, 1 it cannot be taken back (now),
3 a store cannot be reached: the same command goes on.
"""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import on_pool, postgres_url, redis_of_settings
from cli.errors import Refused
from cli.interface import AsJson, print_json, print_json_line
from core.settings import EventLake

if TYPE_CHECKING:
    import pyarrow as pa

    from db.loads.records import LoadRecord

MOST = 1_000  # loads that one list shows
LISTED = 1_000  # ids in JSON
STATEMENT_TIMEOUT = 600.0  # seconds
LoadId = Annotated[str, typer.Argument(metavar="ID", help="The load, as `penchant load list` shows it.")]


def list_loads(
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List the newest loads: what each stored, and whether it was taken back."""
    from db.loads import records

    loads = on_pool(lambda pool: records.list_loads(pool, first))
    if as_json:
        print_json([_document(load) for load in loads])
        return
    for load in loads:
        known = f"{load.duplicate:,} known" if load.kind in (None, records.EVENTS) else f"{load.duplicate:,} older"
        counts = f"{load.stored:,} stored, {known}, {load.rejected:,} rejected"
        taken = f", {load.taken_back:,} taken back" if load.undo_began_at else ""
        kind = load.kind or records.EVENTS
        typer.echo(f"{load.id}  {load.started_at:%F %R}  {load.state:<8}  {kind} of {load.file}: {counts}{taken}")


def undo(load_id: LoadId, as_json: AsJson = False) -> None:
    """Delete the events of a load that no other load names. Items and users that a load touched are listed.

    Give the same command again after an interruption. No file can be loaded meanwhile.
    """
    from db.loads.records import EVENTS, load_record

    load = on_pool(lambda pool: load_record(pool, load_id))
    if load.kind not in (None, EVENTS):
        _print_touched(load, as_json=as_json)
        return
    load = asyncio.run(_undo(load_id))
    if as_json:
        print_json_line(_document(load))
    else:
        typer.echo(f"{load.taken_back:,} events of {load.file} are taken back.")


def _document(load: "LoadRecord") -> dict[str, object]:
    return {
        "id": load.id, "kind": load.kind, "file": load.file, "state": load.state, "stored": load.stored,
        "duplicate": load.duplicate, "rejected": load.rejected, "startedAt": load.started_at,
        "finishedAt": load.finished_at, "undoneAt": load.undone_at, "takenBack": load.taken_back,
        "manifest": load.manifest,
    }  # fmt: skip


async def _undo(id: str) -> "LoadRecord":
    from cli.progress import stage_progress
    from db.lake.location import Lake
    from db.postgres import connect_pool
    from engine.maintenance.undoing_loads import undo_load

    url = EventLake().lake_url
    lake = Lake.at(url) if url else None
    async with (
        await connect_pool(postgres_url(), size=2, timeout=STATEMENT_TIMEOUT) as pool,
        redis_of_settings() as redis,
    ):
        with stage_progress() as report:
            return await undo_load(pool, id, lake, redis, report)


def _print_touched(load: "LoadRecord", *, as_json: bool) -> None:
    """The ids that a load of items or users named: what it replaced is not kept, so nothing is restored."""
    from db.loads.manifests import IDS, Manifest

    if load.manifest is None:
        raise Refused(f"This load of {load.kind} has no manifest, so what it touched is not known.")
    manifest = Manifest.at(load.manifest, load.id)
    touched, left_out = _ids(manifest.rows(IDS)), _ids(manifest.left_out())
    if as_json:
        document = _document(load) | _first("touched", "more", touched) | _first("leftOut", "moreLeftOut", left_out)
        print_json_line(document)
        return
    typer.echo(f"{load.kind} are not restored: what this load replaced is not kept. It touched:", err=True)
    for id in touched:
        typer.echo(id)
    for place, id in enumerate(left_out):
        if not place:
            typer.echo("It left out these, which became unavailable:", err=True)
        typer.echo(id)


def _first(name: str, more: str, ids: Iterator[str]) -> dict[str, object]:
    return {name: list(islice(ids, LISTED)), more: next(ids, None) is not None}


def _ids(tables: "Iterable[pa.Table]") -> Iterator[str]:
    for rows in tables:
        yield from rows.column("id").unique().to_pylist()

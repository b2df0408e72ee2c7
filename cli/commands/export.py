"""`penchant export events --to URL`: writes every day that is over into the lake; a second export, only what changed.

`penchant export people FILE`: a row of features for each customer, as CSV.

Exit codes: 0 the lake has all of it, 1 it belongs to another database or another process is writing to it, 2 the
command is wrong, 3 a store or the lake cannot be reached (what was written until then counts).
"""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import postgres_url
from cli.interface import AsJson, command_group, print_json_line
from core.errors import InvalidInput
from core.settings import EventLake

if TYPE_CHECKING:
    from db.lake.export import Exported
    from db.lake.location import Lake

NAMED = 10  # days
HELP = "Take data out: the events, as Parquet files in a lake of your own, and features of customers."
app = command_group(HELP)


@app.command()
def events(
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The lake: file:///folder, s3://bucket/folder; the setting by default."),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="From this day on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="Before this day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export every day that is over and whose events are not in the lake as they are now."""
    from db.lake.location import Lake

    lake = Lake.at(_address(to))
    done = asyncio.run(_export(lake, since and since.date(), until and until.date()))
    if as_json:
        print_json_line(done)
    else:
        typer.echo(_summary(done))


@app.command()
def people(
    file: Annotated[Path, typer.Argument(help="The CSV file that is written.", dir_okay=False)],
    as_of: Annotated[
        datetime | None,
        typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="Only what happened before this day, in UTC."),
    ] = None,
    lake: Annotated[
        bool, typer.Option("--lake", help="Read the exported days of PENCHANT_LAKE_URL by DuckDB.")
    ] = False,
) -> None:
    """Write a row for each customer: orders, spend, gaps, categories, returns, visits (docs/features.md)."""
    from core import clock

    moment = as_of.replace(tzinfo=UTC) if as_of else clock.now().replace(microsecond=0)
    asyncio.run(_export_people(file, moment, _address(None) if lake else None))
    typer.echo(f"Customers as of {moment:%Y-%m-%d %H:%M:%S} UTC are in {file}.")


async def _export_people(file: Path, as_of: datetime, url: str | None) -> None:
    from db.lake.location import Lake
    from db.postgres import connect_pool
    from engine.segments.person_features import write_people

    async with await connect_pool(postgres_url(), size=1) as pool:
        await write_people(pool, file, as_of, Lake.at(url) if url else None)


def _address(to: str | None) -> str:
    address = to or EventLake().lake_url
    if not address:
        raise InvalidInput("Say where the lake is: --to URL, or PENCHANT_LAKE_URL.", "to")
    return address


async def _export(lake: "Lake", since: date | None, until: date | None) -> "Exported":
    from cli.progress import stage_progress
    from core import clock
    from db.lake.export import export_events
    from db.lake.owner import sole_writer
    from db.postgres import connect_pool

    async with await connect_pool(postgres_url(), size=1) as pool, sole_writer(pool) as connection:
        with stage_progress() as report:
            return await export_events(connection, lake, clock.now(), report, since, until)


def _summary(done: "Exported") -> str:
    text = f"{done.days:,} days exported with {done.rows:,} events; {done.unchanged:,} days were there as they are."
    if done.fewer:
        days = ", ".join(day.isoformat() for day in done.fewer[:NAMED])
        text += f"\nLeft alone, because the lake holds more of them than Postgres: {days}"
    return text

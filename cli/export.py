"""`penchant export events --to URL`: bring every day that is over into the lake; again, only what changed.

Exit codes: 0 the lake has it all, 1 it belongs to another database or somebody else is writing to it, 2 the command is
wrong, 3 a store or the lake cannot be reached (what was done until then counts).
"""

import asyncio
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from core.errors import InvalidInput, StoreUnavailable
from core.settings import EventLake

if TYPE_CHECKING:
    from db.lake.export import Exported
    from db.lake.location import Lake

WRONG, UNREACHABLE = 2, 3
app = typer.Typer(
    help="Take data out: the events, as Parquet files in a lake.", no_args_is_help=True, add_completion=False
)


@app.callback()
def choose() -> None:
    """Take data out: the events, as Parquet files in a lake of your own."""


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
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Export every day that is over and not in the lake as it is now."""
    from db.lake.location import Lake

    try:
        lake = Lake.at(_address(to))
        done = asyncio.run(_export(lake, since and since.date(), until and until.date()))
    except (InvalidInput, StoreUnavailable) as error:
        typer.echo(f"penchant: {error}", err=True)
        raise typer.Exit(UNREACHABLE if isinstance(error, StoreUnavailable) else WRONG) from None
    typer.echo(orjson.dumps(done).decode() if as_json else _told(done))


def _address(to: str | None) -> str:
    address = to or EventLake().lake_url
    if not address:
        raise InvalidInput("Say where the lake is: --to URL, or PENCHANT_LAKE_URL.", "to")
    return address


async def _export(lake: "Lake", since: date | None, until: date | None) -> "Exported":
    from cli.migrate import postgres_url
    from cli.progress import stages
    from core import clock
    from db.lake.export import export_events
    from db.lake.owner import sole_writer
    from db.postgres import connect_pool

    async with await connect_pool(postgres_url(), size=1) as pool, sole_writer(pool) as connection:
        with stages() as report:
            return await export_events(connection, lake, clock.now(), report, since, until)


def _told(done: "Exported") -> str:
    told = f"{done.days:,} days exported with {done.rows:,} events; {done.unchanged:,} days were there as they are."
    if done.fewer:
        days = ", ".join(day.isoformat() for day in done.fewer[:10])
        told += f"\nLeft alone, because the lake holds more of them than Postgres: {days}"
    return told

"""`penchant load items|users|events FILE`: bring the shop's own data in, once, whatever is loaded twice.

Exit codes: 0 every line is stored (or was before), 1 some lines were rejected and the others are stored, 2 the file or
the command is wrong, 3 a store cannot be reached.
"""

import asyncio
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import typer

from cli.loading.fields import Kind
from cli.migrate import postgres_url
from core.errors import InvalidInput, StoreUnavailable
from core.secret_files import read_secret

if TYPE_CHECKING:
    from cli.loading.files import Reading
    from cli.loading.loads import Order, Tally
    from cli.loading.report import Report

REJECTED, WRONG, UNREACHABLE = 1, 2, 3
STATEMENT_SECONDS = 600.0


def load(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON lines; CSV and JSON also as .gz, .bz2 or .xz.")],
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML file that says which of its columns are which of ours: docs/loading.md.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="Who says so: part of an event's identity, beside its id and time.")
    ] = "load",
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected lines go; by default FILE.rejects.jsonl in the working folder.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of times that name no offset, such as UTC or Europe/Berlin.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a CSV file; UTF-8 by default.")] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Delimiter of a CSV file, `whitespace` for blanks; found in its header by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge every line, store nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Load a file of items, users or events; columns are named as in the GraphQL inputs unless a recipe tells them.

    A file may be loaded again at any time: nothing is stored twice. A load that was stopped goes on where it stopped.
    Exit code 1 says that some lines were rejected, 2 that the file is wrong, 3 that a store cannot be reached.
    """
    from cli.loading.chunks import WrongFile
    from cli.loading.recipes import WrongRecipe

    began = monotonic()
    try:
        reading = _reading(kind, recipe, timezone, encoding, delimiter)
        order = _order(kind, file, source, rejects, reading)
        tally = asyncio.run(_load(order, dry_run=dry_run))
    except WrongRecipe as error:
        typer.echo(f"penchant: {error}", err=True)
        raise typer.Exit(WRONG) from None
    except (WrongFile, InvalidInput) as error:
        typer.echo(f"penchant: {file}: {error}", err=True)
        raise typer.Exit(WRONG) from None
    except StoreUnavailable as error:
        typer.echo(f"penchant: {error} (the same command goes on where this one stopped)", err=True)
        raise typer.Exit(UNREACHABLE) from None
    _say(order, tally, monotonic() - began, json=json, dry_run=dry_run)
    raise typer.Exit(REJECTED if tally.rejected else 0)


def _order(kind: Kind, file: Path, source: str, rejects: Path | None, reading: "Reading") -> "Order":
    from cli.loading.loads import Order
    from core.contract import check_id

    return Order(kind, file, rejects or Path(f"{file.name}.rejects.jsonl"), check_id(source, "source"), reading)


def _reading(
    kind: Kind, recipe: Path | None, timezone: str | None, encoding: str | None, delimiter: str | None
) -> "Reading":
    """What the command line says, else the recipe. Raises InvalidInput, and WrongRecipe."""
    import codecs

    from cli.loading.files import Reading
    from cli.loading.recipes import Recipe, read_recipe

    told = read_recipe(recipe, kind) if recipe else None
    rest = told or Recipe()
    timezone, encoding = timezone or rest.timezone, encoding or rest.encoding or "utf-8-sig"
    try:
        zone = ZoneInfo(timezone) if timezone else None
        codecs.lookup(encoding)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInput(f"there is no time zone {timezone!r}", "timezone") from None
    except LookupError:
        raise InvalidInput(f"there is no encoding {encoding!r}", "encoding") from None
    return Reading(zone, encoding, delimiter or rest.delimiter, told)


async def _load(order: "Order", *, dry_run: bool) -> "Tally":
    from cli.loading.chunks import WrongFile
    from cli.loading.loads import check_file
    from cli.loading.report import report_on

    try:
        size = order.file.stat().st_size
    except OSError as error:
        raise WrongFile(f"it cannot be read: {error.strerror}") from None
    with report_on(f"{order.kind} from {order.file.name}", size) as report:
        if dry_run:
            return await check_file(order, report)
        return await _store(order, report)


async def _store(order: "Order", report: "Report") -> "Tally":
    from cli.loading.loads import load_events, load_patches
    from db.postgres import connect_pool

    steps = load_events if order.kind == Kind.EVENTS else load_patches
    async with (
        await connect_pool(postgres_url(), size=1, timeout=STATEMENT_SECONDS) as pool,
        pool.acquire() as connection,
    ):
        tally = await steps(connection, order, report)
    if order.kind == Kind.EVENTS:
        await _forget_states()
    return tally


async def _forget_states() -> None:
    """Let the gateways build people's states anew, with the history that was just loaded."""
    url = read_secret("PENCHANT_REDIS_URL")
    if not url:
        return
    from db.cache import connect_redis, forget_bases

    redis = connect_redis(url, timeout=5.0)
    try:
        await forget_bases(redis)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            "redis", f"all is stored, but Redis still holds older states of people: {error}"
        ) from error
    finally:
        await redis.aclose()


def _say(order: "Order", tally: "Tally", seconds: float, *, json: bool, dry_run: bool) -> None:
    counts = {"stored": tally.stored, "duplicate": tally.duplicate, "rejected": tally.rejected}
    where = str(order.rejects) if tally.rejected else None
    if json:
        result = {"kind": order.kind, "file": str(order.file), **counts, "skipped": dict(tally.skipped),
                  "resumedAfter": tally.resumed_after, "dryRun": dry_run, "rejects": where,
                  "seconds": round(seconds, 3)}  # fmt: skip
        typer.echo(orjson.dumps(result).decode())
        return
    known = "known before" if order.kind == Kind.EVENTS else "older than what is stored"
    typer.echo(
        f"{tally.stored:,} {'would be ' if dry_run else ''}stored, {tally.duplicate:,} {known},"
        f" {tally.rejected:,} rejected{f' (see {where})' if where else ''} in {seconds:.1f} s"
    )
    if tally.skipped:
        rules = ", ".join(f"{lines:,} by {column}" for column, lines in tally.skipped.items())
        typer.echo(f"left out by the recipe's rules: {rules}")

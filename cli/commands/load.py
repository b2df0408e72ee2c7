"""`penchant load items|users|events FILE`: stores the shop's own files; a file that is loaded again adds nothing.

Exit codes: 0 every line is stored (or was before), 1 some lines were rejected and the others are stored, 2 the file or
the command is wrong, 3 a store cannot be reached.
"""

import asyncio
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from cli.database import postgres_url
from cli.errors import REFUSED, WrongCommand
from cli.interface import AsJson, print_json_line
from cli.loading.columns import Kind
from core.errors import InvalidInput, StoreUnavailable
from core.secret_files import read_secret

if TYPE_CHECKING:
    from cli.loading.files import Reading
    from cli.loading.loads import Load, Loaded
    from cli.progress import FileProgress

STATEMENT_TIMEOUT = 600.0  # seconds
REDIS_TIMEOUT = 5.0  # seconds


def load(
    kind: Annotated[Kind, typer.Argument(help="What the file holds.")],
    file: Annotated[Path, typer.Argument(help="Parquet, CSV, JSON or XML, also compressed; - is standard input.")],
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML file that maps the file's columns to ours: docs/loading.md.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="The source of the events: part of an event's identity, beside its id and time.")
    ] = "load",
    rejects: Annotated[
        Path | None,
        typer.Option(help="File for rejected lines; by default FILE.rejects.jsonl in the working folder."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of times that name no offset, such as UTC or Europe/Berlin.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of a CSV or JSON file, such as cp1252; found in the file by default.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="Delimiter of a CSV file, `whitespace` for blanks; found in its header by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check every line, store nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Load a file of items, users or events; its columns are named as in the GraphQL inputs, or by a recipe.

    A file may be loaded again at any time: nothing is stored twice. A load that was stopped resumes where it stopped.
    Exit code 1 says that some lines were rejected, 2 that the file is wrong, 3 that a store cannot be reached.
    """
    from cli.loading.chunks import WrongFile

    began = monotonic()
    try:
        reading = _reading(kind, recipe, timezone, encoding, delimiter)
        job = _load_of(kind, file, source, rejects, reading)
        ended = asyncio.run(_run(job, dry_run=dry_run))
    except (WrongFile, InvalidInput) as error:
        raise WrongCommand(f"{file}: {error}") from error
    except StoreUnavailable as error:
        raise StoreUnavailable(error.store, f"{error} (the same command resumes where this one stopped)") from error
    _print(job, ended, monotonic() - began, json=json, dry_run=dry_run)
    raise typer.Exit(REFUSED if ended.counts.rejected else 0)


def _load_of(kind: Kind, file: Path, source: str, rejects: Path | None, reading: "Reading") -> "Load":
    from cli.loading.loads import Load
    from cli.loading.standard_input import as_file
    from core.contract import check_id

    file = as_file(file)
    return Load(kind, file, rejects or Path(f"{file.name}.rejects.jsonl"), check_id(source, "source"), reading)


def _reading(
    kind: Kind, recipe: Path | None, timezone: str | None, encoding: str | None, delimiter: str | None
) -> "Reading":
    """How to read the file: as the command line says, else the recipe. Raises InvalidInput and WrongRecipe."""
    from cli.loading.files import Reading
    from cli.loading.recipes import Recipe, read_recipe

    followed = read_recipe(recipe, kind) if recipe else None
    defaults = followed or Recipe()
    timezone, encoding = timezone or defaults.timezone, encoding or defaults.encoding or "utf-8-sig"
    try:
        zone = ZoneInfo(timezone) if timezone else None
        "".encode(encoding)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidInput(f"there is no time zone {timezone!r}", "timezone") from None
    except LookupError:
        raise InvalidInput(f"there is no encoding {encoding!r}", "encoding") from None
    return Reading(zone, encoding, delimiter or defaults.delimiter, followed)


async def _run(load: "Load", *, dry_run: bool) -> "Loaded":
    from cli.loading.chunks import WrongFile
    from cli.loading.loads import check_file
    from cli.progress import file_progress

    try:
        size = load.file.stat().st_size
    except OSError as error:
        raise WrongFile(f"it cannot be read: {error.strerror}") from None
    with file_progress(f"{load.kind} from {load.file.name}", size) as report:
        if dry_run:
            return await check_file(load, report)
        return await _store(load, report)


async def _store(load: "Load", report: "FileProgress") -> "Loaded":
    from cli.loading.loads import load_events, load_patches
    from db.postgres import connect_pool

    store = load_events if load.kind == Kind.EVENTS else load_patches
    async with (
        await connect_pool(postgres_url(), size=1, timeout=STATEMENT_TIMEOUT) as pool,
        pool.acquire() as connection,
    ):
        ended = await store(connection, load, report)
    if load.kind == Kind.EVENTS:
        await _drop_bases()
    return ended


async def _drop_bases() -> None:
    """Make the gateways rebuild the bases of people's states, from the history that is now loaded."""
    url = read_secret("PENCHANT_REDIS_URL")
    if not url:
        return
    from db.cache import connect_redis, forget_bases

    redis = connect_redis(url, timeout=REDIS_TIMEOUT)
    try:
        await forget_bases(redis)
    except StoreUnavailable as error:
        message = f"all is stored, but Redis still holds older states of people: {error}"
        raise StoreUnavailable("redis", message) from error
    finally:
        await redis.aclose()


def _print(load: "Load", ended: "Loaded", seconds: float, *, json: bool, dry_run: bool) -> None:
    counts, summary = ended
    rejects = str(load.rejects) if counts.rejected else None
    if json:
        print_json_line(
            {"kind": load.kind, "file": str(load.file), "stored": counts.stored, "duplicate": counts.duplicate,
             "rejected": counts.rejected, "skipped": dict(counts.skipped), "resumedAfter": counts.resumed_after,
             "dryRun": dry_run, "rejects": rejects, "seconds": round(seconds, 3), "summary": summary.document()}
        )  # fmt: skip
        return
    known = "known before" if load.kind == Kind.EVENTS else "older than what is stored"
    typer.echo(
        f"{counts.stored:,} {'would be ' if dry_run else ''}stored, {counts.duplicate:,} {known},"
        f" {counts.rejected:,} rejected{f' (see {rejects})' if rejects else ''} in {seconds:.1f} s"
    )
    if counts.skipped:
        rules = ", ".join(f"{lines:,} by {column}" for column, lines in counts.skipped.items())
        typer.echo(f"left out by the recipe's rules: {rules}")
    for line in summary.lines():
        typer.echo(line)

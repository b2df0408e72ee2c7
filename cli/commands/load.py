"""`penchant load items|users|events FILE`: stores the shop's own files; a file that is loaded again adds nothing.

`penchant load list` shows what was loaded, and `penchant load undo ID` takes a load of events back.

Exit codes: 0 every line is stored (or was before), 1 some lines were rejected and the others are stored, 2 the file or
the command is wrong, 3 a store cannot be reached, or a file cannot be written.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from cli.commands.loads import list_loads, undo
from cli.database import postgres_url, redis_of_settings
from cli.errors import REFUSED, CannotWrite, WrongCommand
from cli.interface import AsJson, command_group, print_json_line
from cli.loading.columns import Kind
from core.errors import InvalidInput, StoreUnavailable
from core.settings import EventLake

if TYPE_CHECKING:
    from cli.loading.files import Reading
    from cli.loading.loads import Load, Loaded
    from cli.progress import FileProgress

STATEMENT_TIMEOUT = 600.0  # seconds
OBJECTS = 500_000  # more than a chunk has; so many new ones start a collection of garbage
app = command_group("Load files of items, users or events, list the loads, take one back.")


def _command(kind: Kind) -> Callable[..., None]:
    """The command that loads files of one kind."""

    def load(
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
            str | None,
            typer.Option(help="Encoding of a CSV or JSON file, such as cp1252; found in the file by default."),
        ] = None,
        delimiter: Annotated[
            str | None,
            typer.Option(help="Delimiter of a CSV file, `whitespace` for blanks; found in its header by default."),
        ] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check every line, store nothing.")] = False,
        complete: Annotated[
            bool, typer.Option("--complete", help="Items: make those that the file leaves out unavailable.")
        ] = False,
        force: Annotated[
            bool, typer.Option("--force", help="With --complete: also when more than 20 % of the items are left out.")
        ] = False,
        json: AsJson = False,
    ) -> None:
        from cli.loading.chunks import WrongFile

        began = monotonic()
        if complete and (kind != Kind.ITEMS or dry_run):
            raise WrongCommand("--complete is for items, and not for a dry run")
        if force and not complete:
            raise WrongCommand("--force needs --complete")
        try:
            reading = _reading(kind, recipe, timezone, encoding, delimiter)
            job = replace(_load_of(kind, file, source, rejects, reading), complete=complete, force=force)
            with _few_collections():
                ended = asyncio.run(_run(job, dry_run=dry_run))
        except (WrongFile, InvalidInput) as error:
            raise WrongCommand(f"{file}: {error}") from error
        except StoreUnavailable as error:
            raise StoreUnavailable(error.store, f"{error} (the same command resumes where this one stopped)") from error
        except OSError as error:
            raise CannotWrite(f"a temporary file cannot be written: {error.strerror or error}") from error
        _print(job, ended, monotonic() - began, json=json, dry_run=dry_run)
        raise typer.Exit(REFUSED if ended.counts.rejected else 0)

    load.__doc__ = f"""Load a file of {kind}; its columns are named as in the GraphQL inputs, or by a recipe.

    A file may be loaded again at any time: nothing is stored twice. A load that was stopped resumes where it stopped.
    Exit code 1 says that some lines were rejected, 2 that the file is wrong, 3 that a store cannot be reached.
    """
    return load


for _kind in Kind:
    app.command(_kind.value)(_command(_kind))
app.command("list")(list_loads)
app.command("undo")(undo)


def _load_of(kind: Kind, file: Path, source: str, rejects: Path | None, reading: "Reading") -> "Load":
    from cli.loading.loads import Load
    from cli.loading.standard_input import as_file
    from core.contract import check_id

    file, settings = as_file(file), EventLake()
    return Load(
        kind,
        file,
        rejects or Path(f"{file.name}.rejects.jsonl"),
        check_id(source, "source"),
        reading,
        manifests=settings.loads_url or settings.lake_url,
    )


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


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector rest while the objects of a chunk are made: none of them is in a cycle."""
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


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
    from cli.loading.complete import load_complete
    from cli.loading.loads import load_events, load_patches
    from db.postgres import connect_pool

    store = load_events if load.kind == Kind.EVENTS else load_complete if load.complete else load_patches
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
    from db.cache import forget_bases

    async with redis_of_settings() as redis:
        if redis is None:
            return
        try:
            await forget_bases(redis)
        except StoreUnavailable as error:
            message = f"all is stored, but Redis still holds older states of people: {error}"
            raise StoreUnavailable("redis", message) from error


def _print(load: "Load", ended: "Loaded", seconds: float, *, json: bool, dry_run: bool) -> None:
    counts, summary = ended.counts, ended.summary
    rejects = str(load.rejects) if counts.rejected else None
    if json:
        print_json_line(
            {"id": ended.id, "kind": load.kind, "file": str(load.file), "stored": counts.stored,
             "duplicate": counts.duplicate, "rejected": counts.rejected, "skipped": dict(counts.skipped),
             "resumedAfter": counts.resumed_after, "dryRun": dry_run, "rejects": rejects,
             "manifest": ended.manifest, "seconds": round(seconds, 3), "summary": summary.document()}
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
    if ended.manifest:
        typer.echo(f"load {ended.id}")
    elif not dry_run:
        typer.echo("It cannot be taken back: there is no place for its manifest (PENCHANT_LOADS_URL).")

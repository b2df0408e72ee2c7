"""`penchant placements`: lists, shows, compares, applies and reverts what the shop wants of its placements."""

import difflib
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.database import on_pool
from cli.errors import Refused, WrongCommand, refusals
from cli.interface import AsJson, command_group, operator_of, print_json, print_json_line

if TYPE_CHECKING:
    from db.placements import StoredPlacement
    from db.postgres import Pool

app = command_group("List, show, compare, apply and revert what the shop wants of its placements.")
PlacementId = Annotated[str, typer.Argument(metavar="ID")]
TomlFile = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A table of settings for each placement.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
_LARGEST = 2_000_000  # bytes of a file

Settings = dict[str, Any]


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all placements with settings."""
    from db.placements import MOST_PLACEMENTS, list_placements

    async def read(pool: "Pool") -> "list[StoredPlacement]":
        return await list_placements(pool, MOST_PLACEMENTS)

    found = on_pool(read)
    if as_json:
        print_json([_document(each) for each in found])
        return
    for each in found:
        typer.echo(_line(each))
    if not found:
        typer.echo("No placement has settings: `penchant placements apply` saves some.")


@app.command()
def show(placement_id: PlacementId, as_json: AsJson = False) -> None:
    """Show the settings of a placement, and who changed them when and why."""
    from db.placements import placement_by_id

    async def read(pool: "Pool") -> "StoredPlacement | None":
        return await placement_by_id(pool, placement_id)

    found = on_pool(read)
    if found is None:
        raise Refused(f"The placement {placement_id!r} has no settings: its lists are as by default.")
    if as_json:
        print_json(_document(found))
        return
    typer.echo(_line(found))
    typer.echo("\n".join(_lines_of(found.settings)))


@app.command()
def history(
    placement_id: PlacementId,
    first: Annotated[int, typer.Option(min=1, max=1_000, help="How many versions.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the versions of a placement, newest first."""
    from db.placements import versions_of_placement

    async def read(pool: "Pool") -> "list[StoredPlacement]":
        return await versions_of_placement(pool, placement_id, first)

    found = on_pool(read)
    if not found:
        raise Refused(f"The placement {placement_id!r} never had settings.")
    if as_json:
        print_json([_document(each) for each in found])
        return
    for each in found:
        typer.echo(_line(each))


@app.command()
def diff(file: TomlFile, as_json: AsJson = False) -> None:
    """Show what `apply` would change. Ends with 0 whether or not there is anything."""
    _apply(file, None, dry_run=True, as_json=as_json)


@app.command()
def apply(
    file: TomlFile,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save the settings in a file: each table has all settings of one placement. Others stay as they are.

    What is as in the file already gets no new version, so that it can be applied again and again.
    """
    _apply(file, reason, dry_run=dry_run, as_json=as_json)


@app.command()
def revert(
    placement_id: PlacementId,
    to: Annotated[
        int | None, typer.Option(metavar="VERSION", min=0, help="0: the default. By default the version before.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Let an earlier version of a placement count again, as a new version."""
    from db.placements import placement_by_id
    from engine.placements.changing import replace_placement, revert_placement

    who = operator_of("penchant placements")

    async def change(pool: "Pool") -> "StoredPlacement":
        now = await placement_by_id(pool, placement_id)
        if now is None:
            raise Refused(f"The placement {placement_id!r} never had settings.")
        version = now.version - 1 if to is None else to
        if version == 0:
            return await replace_placement(pool, placement_id, None, who, reason or "as by default again") or now
        return await revert_placement(pool, placement_id, version, who, reason)

    with refusals():
        saved = on_pool(change)
    if as_json:
        print_json_line(_document(saved))
    else:
        typer.echo(_line(saved))


def _apply(file: Path, reason: str | None, *, dry_run: bool, as_json: bool) -> None:
    from db.placements import placement_by_id
    from engine.placements.changing import replace_placement

    wanted, who = _read(file), operator_of("penchant placements")

    async def change(pool: "Pool") -> "list[tuple[str, Settings | None, int | None]]":
        done = list[tuple[str, Settings | None, int | None]]()
        for id, settings in wanted.items():
            now = await placement_by_id(pool, id)
            before = now.settings if now else None
            if before == settings:
                continue
            saved = None if dry_run else await replace_placement(pool, id, settings, who, reason)
            done.append((id, before, saved.version if saved else None))
        return done

    with refusals():
        changes = on_pool(change)
    if as_json:
        print_json([{"id": id, "version": version, "before": old, "after": wanted[id]} for id, old, version in changes])
        return
    for id, before, version in changes:
        typer.echo(f"{id}{'' if version is None else f'  version {version}'}")
        typer.echo("\n".join(_difference(before, wanted[id])))
    if not changes:
        typer.echo("Nothing changes: all placements of the file are as it says.")
    elif dry_run:
        typer.echo("Nothing is saved: this only shows what would change.")


def _read(file: Path) -> dict[str, Settings]:
    """The settings in a file, checked, by placement. Raises WrongCommand naming every wrong field."""
    from core.errors import InvalidInput
    from engine.placements.changing import check_placement_id, patched

    try:
        content = file.read_bytes()
        if len(content) > _LARGEST:
            raise WrongCommand(f"{file} has more than {_LARGEST:,} bytes.")
        tables = tomllib.loads(content.decode(), parse_float=Decimal)
    except OSError as error:
        raise WrongCommand(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise WrongCommand(f"{file} is not a TOML file: {error}") from None
    wanted = dict[str, Settings]()
    for id, table in tables.items():
        if not isinstance(table, Mapping):
            raise WrongCommand(f"{file}: {id} is no table. Write [{id}], then its settings.")
        try:
            wanted[check_placement_id(id)] = patched(None, table)
        except InvalidInput as error:
            raise WrongCommand(f"{file}, [{id}]: {error}") from None
    return wanted


def _document(placement: "StoredPlacement") -> dict[str, Any]:
    return {
        "id": placement.id,
        "version": placement.version,
        "settings": placement.settings,
        "changed_at": placement.changed_at,
        "changed_by": placement.changed_by,
        "reason": placement.reason,
    }


def _line(placement: "StoredPlacement") -> str:
    why = "" if placement.reason is None else f": {placement.reason}"
    default = "  (as by default)" if placement.settings is None else ""
    changed = f"{placement.changed_at:%F %R} {placement.changed_by}"
    return f"{placement.id}  version {placement.version}  {changed}{why}{default}"


def _lines_of(settings: Settings | None) -> list[str]:
    """A line for each setting."""
    if not settings:
        return ["  as by default"]
    return [f"  {name} = {orjson.dumps(value).decode()}" for name, value in sorted(settings.items())]


def _difference(before: Settings | None, after: Settings) -> list[str]:
    compared = difflib.ndiff(_lines_of(before), _lines_of(after))
    return [line for line in compared if not line.startswith("?")]

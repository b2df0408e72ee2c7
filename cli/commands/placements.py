"""`penchant placements`: lists, shows, compares, applies and reverts what the shop wants of its placements."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import Refused
from cli.interface import AsJson, command_group
from cli.settings_files import DryRun, First, Reason, Settings, SettingsCommands

if TYPE_CHECKING:
    from db.postgres import Pool
    from db.versioned_settings import Difference, SettingsTable, StoredSettings

app = command_group("List, show, compare, apply and revert what the shop wants of its placements.")
PlacementId = Annotated[str, typer.Argument(metavar="ID")]
TomlFile = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A table of settings for each placement.")]


def _table() -> "SettingsTable":
    from db.placements import PLACEMENTS

    return PLACEMENTS


def _check(id: str, settings: Settings) -> Settings:
    from engine.placements.changing import check_placement_id, patched

    check_placement_id(id)
    return patched(None, settings)


async def _replace(pool: "Pool", wanted: dict[str, Settings], who: str, reason: str | None) -> "list[Difference]":
    from engine.placements.changing import replace_placements

    return await replace_placements(pool, wanted, who, reason)


_COMMANDS = SettingsCommands("placements", "as by default", _table, _check, _replace)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all placements with settings."""
    _COMMANDS.list_all("No placement has settings: `penchant placements apply` saves some.", as_json=as_json)


@app.command()
def show(placement_id: PlacementId, as_json: AsJson = False) -> None:
    """Show the settings of a placement, and who changed them when and why."""
    none = f"The placement {placement_id!r} has no settings: its lists are as by default."
    _COMMANDS.show(placement_id, none, as_json=as_json)


@app.command()
def history(placement_id: PlacementId, first: First = 20, as_json: AsJson = False) -> None:
    """List the versions of a placement, newest first."""
    _COMMANDS.history(placement_id, first, f"The placement {placement_id!r} never had settings.", as_json=as_json)


@app.command()
def diff(file: TomlFile, as_json: AsJson = False) -> None:
    """Show what `apply` would change. Ends with 0 whether or not there is anything."""
    _COMMANDS.apply(file, None, dry_run=True, as_json=as_json)


@app.command()
def apply(file: TomlFile, reason: Reason = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Save the settings in a file, all or none: each table has all those of one placement. Others stay as they are.

    What is as in the file already gets no new version, so that it can be applied again and again.
    """
    _COMMANDS.apply(file, reason, dry_run=dry_run, as_json=as_json)


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
    from engine.placements.changing import replace_placement, revert_placement

    who = _COMMANDS.operator

    async def change(pool: "Pool") -> "StoredSettings":
        now = await _table().by_id(pool, placement_id)
        if now is None:
            raise Refused(f"The placement {placement_id!r} never had settings.")
        version = now.version - 1 if to is None else to
        if version == 0:
            return await replace_placement(pool, placement_id, None, who, reason or "as by default again") or now
        return await revert_placement(pool, placement_id, version, who, reason)

    _COMMANDS.change(change, as_json=as_json)

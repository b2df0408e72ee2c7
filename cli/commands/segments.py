"""`penchant segments`: saves, lists, compares, applies and deletes segments, finds and prints their members."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.database import on_pool
from cli.errors import Refused, WrongCommand, refusals
from cli.interface import AsJson, command_group, print_json, print_json_line
from cli.settings_files import DryRun, First, Reason, Settings, SettingsCommands
from core.settings import Stores

if TYPE_CHECKING:
    from db.postgres import Pool
    from db.segments import Segment
    from db.versioned_settings import Difference, SettingsTable

app = command_group("Save, list, compare, apply and delete segments of users, and print who belongs to them.")
SegmentId = Annotated[str, typer.Argument(metavar="ID")]
TomlFile = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A table for each segment.")]
_AT_ONCE = 10_000  # members that are read together


def _table() -> "SettingsTable":
    from db.segments import SEGMENTS

    return SEGMENTS


def _check(id: str, settings: Settings) -> Settings:
    from engine.segments.defining import check_segment_id, checked

    return checked(check_segment_id(id), settings)


async def _replace(pool: "Pool", wanted: dict[str, Settings], who: str, reason: str | None) -> "list[Difference]":
    from engine.segments.defining import replace_segments

    return await replace_segments(pool, wanted, who, reason)


_COMMANDS = SettingsCommands("segments", "deleted", _table, _check, _replace)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all segments with how many users belong to them."""
    from db.segments import list_segments

    found = on_pool(list_segments)
    if as_json:
        print_json([_document(each) for each in found])
        return
    for each in found:
        typer.echo(_line(each))
    if not found:
        typer.echo("There are no segments: `penchant segments save` makes one.")


@app.command()
def save(
    segment_id: SegmentId,
    where: Annotated[
        str, typer.Option(metavar="JSON", help='Who belongs to it, as {"rfm": ["LOYAL"], "recency": {"max": 30}}.')
    ],
    name: Annotated[str | None, typer.Option(help="A name for people; by default the id.")] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Add a segment, or replace the one with this id.

    Conditions: rfm, recency (days), orders, spent, churn and next_purchase with their probability within some days,
    as {"churn": {"within": 90, "min": 0.6}}, traits, affinities, events, any_of and not.
    """
    from engine.segments.defining import replace_segment

    try:
        document = orjson.loads(where)
    except orjson.JSONDecodeError:
        raise WrongCommand("--where is not JSON.") from None
    who = _COMMANDS.operator
    with refusals():
        settings = _check(segment_id, {"name": name or None, "where": document})  # before anything is connected

        async def change(pool: "Pool") -> "Segment":
            return await replace_segment(pool, segment_id, settings, who, reason)

        saved = on_pool(change)
        if as_json:
            print_json_line(_document(saved))
        else:
            typer.echo(
                f"{saved.id} is saved. `penchant segments refresh` finds its members now, a worker within a minute."
            )


@app.command()
def show(segment_id: SegmentId, as_json: AsJson = False) -> None:
    """Show what a segment says, and who changed it when and why."""
    _COMMANDS.show(segment_id, f"There is no segment {segment_id!r}.", as_json=as_json)


@app.command()
def history(segment_id: SegmentId, first: First = 20, as_json: AsJson = False) -> None:
    """List the versions of a segment, newest first."""
    _COMMANDS.history(segment_id, first, f"There never was a segment {segment_id!r}.", as_json=as_json)


@app.command()
def diff(file: TomlFile, as_json: AsJson = False) -> None:
    """Show what `apply` would change. Ends with 0 whether or not there is anything."""
    _COMMANDS.apply(file, None, dry_run=True, as_json=as_json)


@app.command()
def apply(file: TomlFile, reason: Reason = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Save the segments in a file, all or none: each table is a whole segment. Others stay as they are.

    What is as in the file already gets no new version, so that it can be applied again and again.
    """
    _COMMANDS.apply(file, reason, dry_run=dry_run, as_json=as_json)


@app.command()
def remove(segment_id: SegmentId, reason: Reason = None) -> None:
    """Delete a segment with its members; its history is kept."""
    from engine.segments.defining import remove_segment

    who = _COMMANDS.operator

    async def change(pool: "Pool") -> bool:
        return await remove_segment(pool, segment_id, who, reason)

    with refusals():
        removed = on_pool(change)
    if not removed:
        raise Refused(f"There is no segment {segment_id!r}.")
    typer.echo(f"{segment_id} is deleted.")


@app.command()
def delete(segment_id: SegmentId) -> None:
    """The same as `remove`."""
    remove(segment_id)


@app.command()
def refresh(
    bundles: Annotated[
        Path | None, typer.Option(help="The folder of bundles; by default that of the settings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the members of the segments that are due: those just saved, and those not looked at for an hour."""
    from engine.segments.refreshing import Refreshed, refresh_segments

    folder = bundles or Stores().bundles

    async def change(pool: "Pool") -> Refreshed:
        return await refresh_segments(pool, folder)

    done = on_pool(change)
    if as_json:
        print_json_line({"refreshed": done.found, "failed": done.failed})
    else:
        typer.echo(f"Segments whose members were found: {done.found}.")
    if done.failed:
        raise Refused(f"The members of {done.failed} could not be found: they stay as they were found last.")


@app.command()
def members(segment_id: SegmentId) -> None:
    """Print the ids of the users of a segment, one per line, as of its newest snapshot."""
    from db.segments import members_of, segment_by_id

    async def write(pool: "Pool") -> None:
        segment = await segment_by_id(pool, segment_id)
        if segment is None:
            raise Refused(f"There is no segment {segment_id!r}.")
        if segment.number is None:
            raise Refused("Its members are not found yet: run `penchant segments refresh`.")
        last = ""
        while page := await members_of(pool, segment.id, segment.number, last, _AT_ONCE):
            for member in page:
                typer.echo(member.user_id)
            last = page[-1].user_id

    on_pool(write)


def _document(segment: "Segment") -> dict[str, Any]:
    return {
        "id": segment.id,
        "name": segment.name,
        "where": segment.definition,
        "members": segment.members,
        "as_of": segment.made_at,
        "changed_at": segment.changed_at,
        "changed_by": segment.changed_by,
    }


def _line(segment: "Segment") -> str:
    members = "not found yet" if segment.members is None else f"{segment.members:,} users as of {segment.made_at:%F %R}"
    return f"{segment.id}  {segment.name}  {orjson.dumps(segment.definition).decode()}  {members}"

"""`penchant segments`: saves, lists and deletes segments, finds their members, and prints who belongs to them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.database import on_pool
from cli.errors import Refused, WrongCommand, refusals
from cli.interface import AsJson, command_group, operator_of, print_json, print_json_line
from core.settings import Stores

if TYPE_CHECKING:
    from db.postgres import Pool
    from db.segments import Segment

app = command_group("Save, list and delete segments of users, and print who belongs to them.")
SegmentId = Annotated[str, typer.Argument(metavar="ID")]
_AT_ONCE = 10_000  # members that are read together


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
    as_json: AsJson = False,
) -> None:
    """Add a segment, or replace the one with this id.

    Conditions: rfm, recency (days), orders, spent, and churn and next_purchase with their probability within some days,
    as {"churn": {"within": 90, "min": 0.6}}.
    """
    from engine.segments.defining import define_segment, read_conditions

    try:
        document = orjson.loads(where)
    except orjson.JSONDecodeError:
        raise WrongCommand("--where is not JSON.") from None
    who = operator_of("penchant segments")
    with refusals():
        conditions = read_conditions(document)  # before anything is connected

        async def change(pool: "Pool") -> "Segment":
            return await define_segment(pool, segment_id, name or segment_id, conditions, who)

        saved = on_pool(change)
        if as_json:
            print_json_line(_document(saved))
        else:
            typer.echo(
                f"{saved.id} is saved. `penchant segments refresh` finds its members now, a worker within a minute."
            )


@app.command()
def delete(segment_id: SegmentId) -> None:
    """Delete a segment with its members."""
    from db.segments import delete_segment

    async def change(pool: "Pool") -> bool:
        return await delete_segment(pool, segment_id)

    if not on_pool(change):
        raise Refused(f"There is no segment {segment_id!r}.")
    typer.echo(f"{segment_id} is deleted.")


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

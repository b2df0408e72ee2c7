"""Adds, changes and deletes segments; their members are found soon after."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic.alias_generators import to_camel

from core.contract import check_reason
from core.errors import InvalidInput
from db.postgres import Connection
from db.rules import rules_naming
from db.segments import Segment, change_segment, change_segments, delete_segment
from db.versioned_settings import Difference
from engine.segments.settings import read_segment

MOST_NAMED: Final = 5  # rules that the refusal of a deletion names
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def check_segment_id(id: str) -> str:
    """The id itself. Raises InvalidInput when it has other than 1 to 64 letters, digits, dots, dashes, underscores."""
    if not is_segment_id(id):
        raise InvalidInput("id must have 1 to 64 letters, digits, dots, dashes and underscores.", "id")
    return id


def is_segment_id(id: str) -> bool:
    """Whether a segment may have this id."""
    return _ID.fullmatch(id) is not None


def checked(id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are stored: without a name, the id is it. Raises WrongSettings, naming every wrong field."""
    return read_segment({**settings, "name": id if settings.get("name") is None else settings["name"]}).as_json()


def patched(id: str, before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """After changes: what is left out stays, null clears it; each condition by itself. Raises WrongSettings."""
    where = {}
    if changes.get("where", before) is not None:
        where = {**{to_camel(name): value for name, value in before["where"].items()}, **changes.get("where", {})}
    return checked(id, {**before, **changes, "where": where})


async def create_segment(
    connection: Connection, id: str, settings: Mapping[str, Any], changed_by: str, reason: str | None = None
) -> Segment:
    """A new segment. Raises InvalidInput: WrongSettings, or for an id that another one has."""

    def new(before: dict[str, Any] | None) -> dict[str, Any]:
        if before is not None:
            raise InvalidInput(f"There is a segment {id!r} already.", "id")
        return wanted

    wanted = checked(check_segment_id(id), settings)
    made = await change_segment(connection, id, new, changed_by, _checked_reason(reason))
    assert made is not None
    return made


async def update_segment(
    connection: Connection,
    id: str,
    changes: Mapping[str, Any],
    changed_by: str,
    reason: str | None = None,
    *,
    expected: int | None = None,
) -> Segment:
    """The segment after changes of its settings, as `patched` says.

    Raises InvalidInput: WrongSettings, SettingsChanged where `expected` is not the newest version, and where there is
    no such segment.
    """

    def change(before: dict[str, Any] | None) -> dict[str, Any]:
        if before is None:
            raise InvalidInput(f"There is no segment {id!r}.", "id")
        return patched(id, before, changes)

    changed = await change_segment(
        connection, check_segment_id(id), change, changed_by, _checked_reason(reason), expected=expected
    )
    assert changed is not None
    return changed


async def replace_segment(
    connection: Connection, id: str, settings: Mapping[str, Any], changed_by: str, reason: str | None = None
) -> Segment:
    """The segment with these settings alone, whether or not it was there. Raises InvalidInput: WrongSettings."""
    wanted = checked(check_segment_id(id), settings)
    saved = await change_segment(connection, id, lambda _: wanted, changed_by, _checked_reason(reason))
    assert saved is not None
    return saved


async def replace_segments(
    connection: Connection, segments: Mapping[str, Mapping[str, Any]], changed_by: str, reason: str | None = None
) -> list[Difference]:
    """Give segments by id these settings alone, all or none; what that changes. Raises InvalidInput."""
    wanted = {check_segment_id(id): checked(id, settings) for id, settings in segments.items()}
    return await change_segments(connection, wanted, changed_by, _checked_reason(reason))


async def remove_segment(
    connection: Connection, id: str, changed_by: str, reason: str | None = None, *, expected: int | None = None
) -> bool:
    """Delete a segment with its members; its versions stay. Whether it was there.

    Raises InvalidInput: SettingsChanged where `expected` is not the newest version, and where a rule names it.
    """
    naming = await rules_naming(connection, check_segment_id(id), MOST_NAMED)
    if naming:
        raise InvalidInput(f"Rules name this segment: {', '.join(naming)}. Change or remove them first.", "id")
    return await delete_segment(connection, id, changed_by, _checked_reason(reason), expected=expected)


def _checked_reason(reason: str | None) -> str | None:
    return None if reason is None else check_reason(reason)

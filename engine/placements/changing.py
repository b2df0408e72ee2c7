"""Changes and removes placements, in all gateways within seconds, and tries changes out."""

from collections.abc import Mapping
from typing import Any, Final

from core.contract import check_reason
from core.errors import InvalidInput
from db.placements import PLACEMENTS, StoredPlacement, placement_version, save_placement
from db.postgres import Connection
from db.versioned_settings import Difference
from engine.placements.settings import read_settings

LONGEST_ID: Final = 64  # characters


def check_placement_id(id: str, field: str = "id") -> str:
    """The id itself. Raises InvalidInput, naming `field`, when it has other than 1 to 64 printable characters."""
    if not 0 < len(id) <= LONGEST_ID or not id.isprintable():
        raise InvalidInput(f"{field} must have 1 to {LONGEST_ID} printable characters.", field)
    return id


def patched(before: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings after changes: a key left out keeps its value, null sets the default. Raises WrongSettings."""
    whole = {**(before or {}), **changes}
    return read_settings({key: value for key, value in whole.items() if value is not None}).as_json()


async def change_placement(
    connection: Connection,
    id: str,
    changes: Mapping[str, Any],
    changed_by: str,
    reason: str | None = None,
    *,
    expected: int | None = None,
) -> StoredPlacement:
    """The placement after a change of its settings; one that changes nothing makes no version.

    Raises InvalidInput: WrongSettings, PlacementChanged where `expected` is not the newest version.
    """
    saved = await _save(connection, id, lambda before: patched(before, changes), changed_by, reason, expected=expected)
    assert saved is not None
    return saved


async def replace_placement(
    connection: Connection,
    id: str,
    settings: Mapping[str, Any] | None,
    changed_by: str,
    reason: str | None = None,
    *,
    expected: int | None = None,
) -> StoredPlacement | None:
    """The placement with these settings alone; None for the default. None when it never had settings, nor has now.

    Raises as `change_placement`.
    """
    wanted = None if settings is None else patched(None, settings)
    return await _save(connection, id, lambda _: wanted, changed_by, reason, expected=expected)


async def replace_placements(
    connection: Connection, placements: Mapping[str, Mapping[str, Any]], changed_by: str, reason: str | None = None
) -> list[Difference]:
    """Give placements by id these settings alone, all or none; what that changes. Raises InvalidInput."""
    wanted = {check_placement_id(id): patched(None, settings) for id, settings in placements.items()}
    return await PLACEMENTS.save_all(connection, wanted, changed_by, None if reason is None else check_reason(reason))


async def revert_placement(
    connection: Connection, id: str, version: int, changed_by: str, reason: str | None = None
) -> StoredPlacement:
    """The placement with the settings of an earlier version, as a new version. Raises InvalidInput without that one."""
    earlier = await placement_version(connection, check_placement_id(id), version)
    if earlier is None:
        raise InvalidInput(f"The placement {id!r} has no version {version}.", "version")
    saved = await replace_placement(
        connection, id, earlier.settings, changed_by, reason or f"as version {version} again"
    )
    assert saved is not None
    return saved


async def _save(
    connection: Connection, id: str, settings: Any, changed_by: str, reason: str | None, *, expected: int | None
) -> StoredPlacement | None:
    why = None if reason is None else check_reason(reason)
    return await save_placement(connection, check_placement_id(id), settings, changed_by, why, expected=expected)

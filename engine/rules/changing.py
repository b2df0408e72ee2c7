"""Changes and removes rules, in all gateways within seconds."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from core.contract import check_reason
from core.errors import InvalidInput
from db.postgres import Connection
from db.rules import RULES
from db.segments import unknown_segments
from db.versioned_settings import Difference, StoredSettings
from engine.rules.settings import read_rule

LONGEST_ID: Final = 64  # characters


def check_rule_id(id: str) -> str:
    """The id itself. Raises InvalidInput when it has other than 1 to 64 printable characters."""
    if not 0 < len(id) <= LONGEST_ID or not id.isprintable():
        raise InvalidInput(f"id must have 1 to {LONGEST_ID} printable characters.", "id")
    return id


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are stored; null is left out. Raises WrongSettings, naming every wrong field."""
    return read_rule({key: value for key, value in settings.items() if value is not None}).as_json()


async def replace_rule(
    connection: Connection,
    id: str,
    settings: Mapping[str, Any] | None,
    changed_by: str,
    reason: str | None = None,
    *,
    expected: int | None = None,
) -> StoredSettings | None:
    """The rule with these settings alone; None removes it. None when it never was there, nor is now.

    Equal settings make no version. Raises InvalidInput: WrongSettings, SettingsChanged where `expected` is not the
    newest version.
    """
    wanted = None if settings is None else checked(settings)
    await _check_segments(connection, [wanted] if wanted else [])
    why = None if reason is None else check_reason(reason)
    return await RULES.save(connection, check_rule_id(id), lambda _: wanted, changed_by, why, expected=expected)


async def replace_rules(
    connection: Connection, rules: Mapping[str, Mapping[str, Any]], changed_by: str, reason: str | None = None
) -> list[Difference]:
    """Put these rules by id into the place of those there, all or none; what that changes. Raises InvalidInput."""
    wanted = {check_rule_id(id): checked(settings) for id, settings in rules.items()}
    await _check_segments(connection, wanted.values())
    return await RULES.save_all(connection, wanted, changed_by, None if reason is None else check_reason(reason))


async def _check_segments(connection: Connection, rules: Iterable[Mapping[str, Any]]) -> None:
    """Raise InvalidInput when a rule names a segment that is not there: it would never hold."""
    named = {name for rule in rules for name in rule.get("when", {}).get("segments", ())}
    unknown = await unknown_segments(connection, sorted(named)) if named else []
    if unknown:
        raise InvalidInput(f"when.segments names segments that are not there: {', '.join(unknown)}.", "when.segments")

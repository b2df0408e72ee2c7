"""What the topics of settings with versions share: the pages of a history, and why a change was refused."""

from collections.abc import Callable
from typing import TypeVar

from api.graphql.context import Info
from api.graphql.types.connections import Connection, Edge, check_first
from api.graphql.types.user_errors import UserError
from core.errors import InvalidInput
from db.versioned_settings import SettingsChanged, SettingsTable, StoredSettings
from engine.cursors import read_cursor, write_cursor
from engine.placements.settings import WrongSettings

NodeT = TypeVar("NodeT")


async def page_of_versions(
    info: Info,
    table: SettingsTable,
    noun: str,
    id: str,
    first: int,
    after: str | None,
    of: Callable[[StoredSettings], NodeT],
) -> Connection[NodeT]:
    """A page of the versions of something with this id, newest first, as `of` shows each. `noun` says what it is."""
    signer, first, purpose = info.context.gateway.signer, check_first(first), f"{noun} {id}"
    before = None if after is None else int(read_cursor(signer, purpose, after))
    records = await table.versions(info.context.reads, id, first + 1, before)
    edges = [Edge(cursor=write_cursor(signer, purpose, record.version), node=of(record)) for record in records[:first]]
    return Connection.of(edges, after, more=len(records) > first)


def errors_of(error: InvalidInput) -> list[UserError]:
    """Why a change was refused: an error for each wrong field, or CONFLICT where somebody else changed it meanwhile."""
    if isinstance(error, WrongSettings):
        return [UserError.of(fault) for fault in error.faults]
    return [UserError.of(error, "CONFLICT" if isinstance(error, SettingsChanged) else "BAD_USER_INPUT")]

"""After a restore: erases again those who were erased since the backup was made.

The restored database holds their data and knows nothing of their erasure. Their saved tombstones do.
"""

import structlog

from core.errors import InvalidInput
from db.deletion import delete_people
from db.erasures import begin_erasure
from db.postgres import Connection
from db.tombstones import SavedTombstones, keep_tombstones, people_of, take_key, unknown_tombstones

log = structlog.get_logger()

REQUESTED_BY = "restore"  # on the receipts


async def erase_again(connection: Connection, saved: SavedTombstones) -> int:
    """Erase the people whose saved tombstone is newer than the database; returns how many it held data of.

    Users get a receipt, and periodic tasks go on with the other stores. Twice is the same as once, also after an
    interruption: the tombstones themselves are kept last. Raises InvalidInput for tombstones of another shop.
    """
    if not await take_key(connection, saved):
        raise InvalidInput("These tombstones were not saved from the database that was restored here.", "file")
    newer = await unknown_tombstones(connection, saved.tombstones)
    found = await people_of(connection, newer)
    for person, erased_at in found:
        if person.kind == "user":
            erasure, deleted = await begin_erasure(connection, person.id, REQUESTED_BY, erased_at)
            people = erasure.people
        else:
            people, deleted = [person], await delete_people(connection, [person])
        while deleted.incomplete:
            deleted = await delete_people(connection, people)
    await keep_tombstones(connection, newer)
    log.info("people_erased_again", people=len(found), tombstones=len(newer))
    return len(found)

"""Loads a complete file of items: the available items that it leaves out become unavailable.

The file is read twice: first for the ids it names, so that nothing is stored if too many items are left out.
"""

from dataclasses import replace
from typing import Final

from cli.loading.chunks import Reject, WrongFile
from cli.loading.loads import Load, Loaded, check_file, load_patches
from cli.loading.patches import Patches
from cli.progress import FileProgress
from core.contract import check_id
from core.errors import InvalidInput
from db.complete_files import (
    add_named,
    begin_file,
    find_omitted,
    make_named_available,
    make_omitted_unavailable,
    stream_omitted,
)
from db.postgres import Connection

MOST_OMITTED: Final = 20  # percent of the available items


async def load_complete(connection: Connection, load: Load, report: FileProgress) -> Loaded:
    """Load the file. Raises WrongFile, with nothing stored, if it leaves too many out, or rejects lines without an id.

    A rejected line names its item, which stays as it is. With `force` nothing is too much.
    """
    if not load.file.is_file():
        raise WrongFile("a complete file is read twice: save it first")
    await _find_omitted(connection, load, report)
    loaded = await load_patches(connection, load, report, left_out=stream_omitted(connection))
    returned = await make_named_available(connection)
    omitted = await make_omitted_unavailable(connection)
    return loaded._replace(summary=replace(loaded.summary, omitted=omitted, returned=returned))


async def _find_omitted(connection: Connection, load: Load, report: FileProgress) -> None:
    nameless = 0

    async def add(patches: Patches, rejects: list[Reject]) -> None:
        nonlocal nameless
        rejected = [id for reject in rejects if (id := _id_of(reject)) is not None]
        nameless += len(rejects) - len(rejected)
        await add_named(connection, [*(patch["id"] for patch in patches.patches), *rejected])

    await begin_file(connection)
    await check_file(load, report, add)
    if nameless and not load.force:
        raise WrongFile(
            f"{nameless:,} lines were rejected without an id (see {load.rejects}), so it is not known what the file"
            " leaves out; nothing was stored. Mend them, or give --force"
        )
    available, omitted = await find_omitted(connection)
    if 100 * omitted > MOST_OMITTED * available and not load.force:
        raise WrongFile(
            f"it leaves out {omitted:,} of {available:,} available items, more than {MOST_OMITTED} %; nothing was"
            " stored. Is it complete? If so, give --force"
        )


def _id_of(reject: Reject) -> str | None:
    try:
        return check_id(reject.id, "id")
    except InvalidInput:
        return None

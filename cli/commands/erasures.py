"""`penchant erasures`: saves who was erased, and erases them again in a restored database (docs/operating.md)."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli.database import on_pool
from cli.errors import Refused
from cli.interface import AsJson, command_group, print_json
from cli.stack.folder import write_private
from core.counts import people_in_words
from core.disks import disk_errors
from core.errors import InvalidInput

if TYPE_CHECKING:
    from db.tombstones import SavedTombstones

app = command_group("Save who was erased; erase them again after a restore.")

File = Annotated[
    Path, typer.Argument(help="The file. It has no ids, but the key of their hashes: keep it like a backup.")
]


@app.command()
def save(file: File, as_json: AsJson = False) -> None:
    """Write every tombstone and the key of their hashes to FILE, which only its owner may read."""
    from db.tombstones import saved_tombstones

    found = on_pool(saved_tombstones)
    lines = [] if found is None else _lines(found)
    with disk_errors(file):
        write_private(file, "".join(orjson.dumps(line).decode() + "\n" for line in lines))
    _answer({"tombstones": max(len(lines) - 1, 0)}, "{tombstones:,} tombstones saved.", as_json=as_json)


@app.command()
def apply(file: File, as_json: AsJson = False) -> None:
    """Erase everyone again whose tombstone in FILE is newer than the database. Before gateways and workers start."""
    from engine.privacy.restoring import erase_again

    saved = _read(file)
    people = 0 if saved is None else on_pool(lambda pool: erase_again(pool, saved))
    _answer({"erased": people}, f"{people_in_words(people)} erased again.", as_json=as_json)


def _answer(done: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        typer.echo(text.format(**done))


def _lines(saved: "SavedTombstones") -> list[dict[str, str]]:
    """The key, then a line for each tombstone."""
    key = {"innerPad": saved.inner_pad.hex(), "outerPad": saved.outer_pad.hex()}
    return [key, *({"person": one.person.hex(), "erasedAt": one.erased_at.isoformat()} for one in saved.tombstones)]


def _read(file: Path) -> "SavedTombstones | None":
    """What `save` wrote; None when it wrote nothing, because nobody was erased. Raises Refused, InvalidInput."""
    from db.tombstones import SavedTombstones, Tombstone

    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from None
    if not lines:
        return None
    try:
        key, *rows = map(orjson.loads, lines)
        tombstones = [Tombstone(bytes.fromhex(row["person"]), datetime.fromisoformat(row["erasedAt"])) for row in rows]
        return SavedTombstones(bytes.fromhex(key["innerPad"]), bytes.fromhex(key["outerPad"]), tombstones)
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(f"{file} is not a file that `penchant erasures save` wrote.", "file") from None

"""The days in the lake: each has a manifest that names its files, and counts only with it."""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Final

import orjson

from core.errors import StoreUnavailable
from db.lake.location import TEMPORARY, Lake

MANIFEST: Final = "_SUCCESS.json"
_FOLDER: Final = "day="
_PART: Final = r"part-[0-9]+-[0-9]{4,}-[0-9a-f]{16}\.parquet"
_LEFTOVERS: Final = rf"{_FOLDER}[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}/({_PART}|{TEMPORARY}[0-9a-f]{{32}})"


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a day. `layer` counts how often its month had been dropped from Postgres when it was written."""

    name: str
    rows: int
    bytes: int
    sha256: str
    layer: int


@dataclass(frozen=True, slots=True)
class Day:
    """A manifest. `held` and `mark` are the contents of the day in Postgres when the newest layer was written.

    A `mark` of None means that the files were rewritten since.
    """

    day: date
    origin: str
    schema: str
    layer: int
    held: int
    mark: str | None
    exported_at: datetime
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(part.rows for part in self.parts)

    def files(self) -> set[str]:
        """Every file that belongs to the day, the manifest too."""
        return {f"{folder_of(self.day)}/{name}" for name in (MANIFEST, *(part.name for part in self.parts))}


@dataclass(frozen=True, slots=True)
class Contents:
    """The days of a lake by date, and the size in bytes of every file."""

    days: dict[date, Day]
    sizes: dict[str, int]

    def whole(self, day: Day) -> bool:
        """Whether every file of the day exists in its full length."""
        folder = folder_of(day.day)
        return all(self.sizes.get(f"{folder}/{part.name}") == part.bytes for part in day.parts)


def folder_of(day: date) -> str:
    """The folder of a day, inside the lake."""
    return f"{_FOLDER}{day.isoformat()}"


def read_contents(lake: Lake, months: Collection[date] | None = None) -> Contents:
    """The days and files of a lake, by default of all months. Raises StoreUnavailable when the lake cannot be read."""
    sizes = lake.sizes()
    wanted = None if months is None else tuple(f"{_FOLDER}{month:%Y-%m}-" for month in months)
    texts = lake.read(
        name for name in sizes if name.endswith(f"/{MANIFEST}") and (wanted is None or name.startswith(wanted))
    )
    days = [_day(lake, name, text) for name, text in texts.items()]
    return Contents({day.day: day for day in sorted(days, key=lambda each: each.day)}, sizes)


def remove_leftovers(lake: Lake, contents: Contents) -> None:
    """Remove files of a killed export, which no manifest names. Other files are left alone."""
    named = {name for day in contents.days.values() for name in day.files()}
    lake.remove(name for name in contents.sizes if name not in named and re.fullmatch(_LEFTOVERS, name))


def write_day(lake: Lake, day: Day, before: Day | None) -> None:
    """Write the manifest, and remove files that only the previous one named."""
    lake.write(folder_of(day.day), MANIFEST, _manifest(day))
    if before is not None:
        lake.remove(sorted(before.files() - day.files()))


def remove_day(lake: Lake, day: Day) -> None:
    """Remove a day, its manifest first."""
    lake.remove(sorted(day.files(), key=lambda name: not name.endswith(MANIFEST)))


def paths_of(lake: Lake, days: Iterable[Day]) -> list[str]:
    """The files of these days, under the storage's own names."""
    return [lake.path(f"{folder_of(day.day)}/{part.name}") for day in days for part in day.parts]


def _manifest(day: Day) -> bytes:
    content = {
        "dataset": "events",
        "version": "v1",
        "schema": day.schema,
        "day": day.day,
        "origin": day.origin,
        "rows": day.rows,
        "exported_at": day.exported_at,
        "layer": day.layer,
        "held": {"rows": day.held, "mark": day.mark},
        "files": [asdict(part) for part in day.parts],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _day(lake: Lake, name: str, text: bytes) -> Day:
    try:
        content: dict[str, Any] = json.loads(text)
        day = Day(
            day=date.fromisoformat(content["day"]),
            origin=content["origin"],
            schema=content["schema"],
            layer=content["layer"],
            held=content["held"]["rows"],
            mark=content["held"]["mark"],
            exported_at=datetime.fromisoformat(content["exported_at"]),
            parts=tuple(Part(**each) for each in content["files"]),
        )
        _require_ours(name, day)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreUnavailable(
            "lake", f"{lake.url}: {name} is not a manifest of Penchant ({type(error).__name__})."
        ) from error
    return day


def _require_ours(name: str, day: Day) -> None:
    """Check a manifest: files are removed and months dropped because of it. Raises ValueError, or TypeError."""
    numbers = [day.layer, day.held, *(number for part in day.parts for number in (part.rows, part.bytes, part.layer))]
    if not all(type(number) is int for number in numbers):
        raise TypeError
    if name != f"{folder_of(day.day)}/{MANIFEST}" or not all(re.fullmatch(_PART, part.name) for part in day.parts):
        raise ValueError

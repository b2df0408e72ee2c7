"""Only files with our own names are removed from a lake, and only manifests as we write them are accepted."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import StoreUnavailable
from db.lake.location import Lake
from db.postgres import Pool
from tests.db.lake.conftest import event, export, store
from tests.db.lake.test_export import content


async def test_files_that_penchant_did_not_write_are_left_alone(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1))
    theirs = {
        "day=2026-01-05": ["notes.txt", "part-0-0000-dead.parquet", "part-0.parquet", "_tmp-mine"],
        "day=2026-01-05/more": ["part-0-0000-deaddeaddeaddead.parquet"],
        "day=monday": ["part-0-0000-deaddeaddeaddead.parquet"],
    }
    for folder, names in theirs.items():
        for name in names:
            lake.write(folder, name, b"precious")
    await export(pool, lake)
    await export(pool, lake)
    assert {f"{folder}/{name}" for folder, names in theirs.items() for name in names} < lake.sizes().keys()


def changed(manifest: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The manifest with another value at a path like `files.0.name`."""
    *way, last = path.split(".")
    place: Any = manifest
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    return manifest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("files.0.name", "../../../../precious.txt"),
        ("files.0.name", "part-0-0000-deaddeaddeaddead.parquet/../../precious.txt"),
        ("files.0.name", 7),
        ("files.0.layer", "x"),
        ("files.0.rows", "1"),
        ("files.0.bytes", None),
        ("layer", "x"),
        ("layer", True),
        ("held.rows", 1.5),
        ("day", "2026-01-06"),
    ],
)
async def test_nothing_is_removed_because_of_a_foreign_manifest(
    pool: Pool, tmp_path: Path, path: str, value: object
) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    (tmp_path / "precious.txt").write_text("precious")
    await store(pool, event(1))
    await export(pool, lake)
    name = "day=2026-01-05/_SUCCESS.json"
    said = changed(json.loads(lake.read([name])[name]), path, value)
    lake.write("day=2026-01-05", "_SUCCESS.json", json.dumps(said).encode())
    before = content(lake)
    await store(pool, event(2))
    with pytest.raises(StoreUnavailable, match=f"{name} is not a manifest of Penchant"):
        await export(pool, lake)
    assert content(lake) == before
    assert (tmp_path / "precious.txt").exists()

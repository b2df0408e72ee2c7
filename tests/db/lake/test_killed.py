"""Killed at any moment, an export leaves every day whole; run again, it completes."""

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from db.lake.days import MANIFEST, read_contents
from db.lake.location import Lake
from db.postgres import Pool
from tests.db.lake.conftest import DAY, NOON, event, export, store
from tests.db.lake.test_export import content

ROOT = Path(__file__).parents[3]
MORE_STEPS_THAN_THERE_ARE = 40
PRELUDE = """
import os, signal
from db.lake.location import Lake

left = {step}
def deadly(act):
    def counted(*given, **named):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*given, **named)
    return counted

opened = Lake.at.__func__
def at(cls, url):
    lake = opened(cls, url)
    for name in ("open", "mv", "cp_file", "rm_file"):
        setattr(lake.files, name, deadly(getattr(lake.files, name)))
    return lake
Lake.at = classmethod(at)
from cli.main import app
app()
"""


def killed_at(step: int, lake: Lake, url: str) -> int:
    """`penchant export events`, killed before the storage's step of that number; the exit code."""
    environment = {**os.environ, "PENCHANT_POSTGRES_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRELUDE.format(step=step), "export", "events", "--to", lake.url]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False).returncode


def whole(lake: Lake) -> dict[str, Any]:
    """The manifests without their times; checks that every file they name is complete."""
    files = content(lake)
    said = {}
    for name in (name for name in files if name.endswith(MANIFEST)):
        manifest = json.loads(files[name])
        for part in manifest["files"]:
            assert sha256(files[f"{name.removesuffix(MANIFEST)}{part['name']}"]).hexdigest() == part["sha256"]
        said[name] = {key: value for key, value in manifest.items() if key != "exported_at"}
    return said


def restore(lake: Lake, files: dict[str, bytes]) -> None:
    lake.remove(lake.sizes())
    for name, data in files.items():
        folder, _, last = name.rpartition("/")
        lake.write(folder, last, data)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_an_export_killed_before_any_step_leaves_whole_days_and_can_be_run_again(
    pool: Pool, lake: Lake, postgres_url: str
) -> None:
    await store(pool, event(1), event(2, NOON + DAY))
    await export(pool, lake)
    before, first = whole(lake), content(lake)
    await store(pool, event(3), event(4, NOON + 2 * DAY))
    await export(pool, lake)
    after, last = whole(lake), content(lake)
    assert len(after) == 3
    for step in range(1, MORE_STEPS_THAN_THERE_ARE):
        restore(lake, first)
        code = killed_at(step, lake, postgres_url)
        found = whole(lake)
        assert all(said in (before.get(name), after[name]) for name, said in found.items())
        if code == 0:
            assert found == after
            break
        assert code == -signal.SIGKILL
        await export(pool, lake)
        assert whole(lake) == after
        assert content(lake).keys() == last.keys()
        assert {name for day in read_contents(lake).days.values() for name in day.files()} == last.keys()
    assert 8 <= step < MORE_STEPS_THAN_THERE_ARE - 1

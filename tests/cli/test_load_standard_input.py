"""`penchant load KIND -` reads standard input."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.conftest import OnDatabase
from tests.commands import PROGRAM, ROOT
from tests.conftest import EMPTY_EVERY_TABLE

HEADER = "type,occurredAt,userId,itemId"
GOOD = "VIEW,2026-01-05T12:00:00Z,u1,i1"
WRONG = "VIEW,2026-01-05T12:00:00Z,u1,"


@pytest.fixture(autouse=True)
def empty(on_database: OnDatabase) -> None:
    on_database(lambda pool: pool.execute(EMPTY_EVERY_TABLE))


def load(text: str, folder: Path, url: str, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "load", "events", "-", "--json", *words],
        input=text,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PENCHANT_POSTGRES_URL": url, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def test_standard_input_is_loaded_once_and_leaves_no_copy(tmp_path: Path, postgres_url: str) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for stored in (1, 0):
        done = load(f"{HEADER}\n{GOOD}\n{WRONG}\n", tmp_path, postgres_url, TMPDIR=str(copies))
        assert done.returncode == 1, done.stderr
        printed = json.loads(done.stdout)
        assert (printed["rejected"], printed["rejects"]) == (1, "standard-input.rejects.jsonl")
        assert printed["stored"] + printed["duplicate"] == 1 and printed["stored"] <= 1
        assert stored or printed["resumedAfter"] or printed["duplicate"]
    assert list(copies.iterdir()) == []
    assert (tmp_path / "standard-input.rejects.jsonl").exists()


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path, postgres_url: str) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{limited}from cli.main import app; app()", "load", "events", "-"],
        input=f"{HEADER}\n" + f"{GOOD}\n" * 10_000,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PENCHANT_POSTGRES_URL": postgres_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"its copy in {tempfile.gettempdir()} failed: File too large" in done.stderr
    assert "Traceback" not in done.stderr


READ_ONLY = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
"""Runs a script where it may mount, as a container does."""


@pytest.mark.parametrize("wrong", [[], [WRONG]])
def test_in_a_read_only_folder_only_rejects_need_a_file(tmp_path: Path, postgres_url: str, wrong: list[str]) -> None:
    """Such a file system refuses even to remove a file that is not there."""
    script = 'mount --bind . .; mount -o remount,ro,bind .; cd "$PWD"; exec "$@"'
    done = subprocess.run(
        [*READ_ONLY, script, "sh", *PROGRAM, "load", "events", "-", "--json"],
        input="\n".join([HEADER, GOOD, *wrong, ""]),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PENCHANT_POSTGRES_URL": postgres_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if wrong:
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
        assert "--rejects names another file" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["stored"] == 1

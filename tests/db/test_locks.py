"""Every advisory lock has one number, and SQL files use the number of the table."""

import re
from pathlib import Path

from db.locks import AdvisoryLock

ROOT = Path(__file__).parents[2]
TAKEN = re.compile(r"pg_(?:try_)?advisory_\w*lock\((\d+)")


def test_a_lock_that_a_sql_file_takes_is_in_the_table() -> None:
    taken = {int(number) for file in (ROOT / "db").rglob("*.sql") for number in TAKEN.findall(file.read_text())}
    assert taken == {AdvisoryLock.PARTITIONS}


def test_no_python_file_writes_a_number_of_its_own() -> None:
    packages = [folder.parent for folder in ROOT.glob("*/__init__.py")]
    files = [file for folder in packages for file in folder.rglob("*.py")]
    assert files
    assert [file.name for file in files if TAKEN.search(file.read_text())] == []


def test_no_number_has_two_names() -> None:
    assert len(AdvisoryLock) == len(AdvisoryLock.__members__)

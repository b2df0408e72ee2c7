"""`penchant demo` on a part of the real log: an answer at once, one from a model later, a quick second start."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cli.demo.household_log import LogCounts, ShopFiles
from cli.stack.folder import free_ports, remove
from tests.running import until

PENCHANT = Path(sys.executable).with_name("penchant")
HOUSEHOLDS = 120  # the gate needs 100
FAVOURITES = 400  # items
ORDERS = "[037]$"  # about a third of the orders: a training needs people, not many orders
READY = "Ctrl-C stops everything"


class RunningDemo:
    """One start of the demo in a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder / ".penchant"
        self._output = folder / "printed"  # no log: the demo prints a token for its reader
        with self._output.open("w") as output:
            command = [str(PENCHANT), "demo", "--port", str(port)]
            self.process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)

    def output(self) -> str:
        return self._output.read_text()

    def until_printed(self, words: str, seconds: float = 150) -> None:
        def printed() -> bool:
            assert self.process.poll() is None, self.output()
            return words in self.output()

        until(printed, f"the demo prints {words!r}", seconds)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def write_part(files: ShopFiles, folder: Path) -> None:
    """The files of the most active households and what they buy most, where the demo looks for its own."""
    folder.mkdir(parents=True)
    target = ShopFiles.under(folder)
    people = pq.read_table(files.people).slice(0, HOUSEHOLDS)
    pq.write_table(people, target.people)
    favourites = pq.read_table(files.favourites).slice(0, FAVOURITES)
    for name in ("holdout", "events"):
        theirs = _of(people["userId"], pq.read_table(getattr(files, name)), "userId")
        theirs = theirs.filter(pc.match_substring_regex(theirs["orderId"], ORDERS))
        pq.write_table(_of(favourites["itemId"], theirs, "itemId"), getattr(target, name))
    pq.write_table(_of(people["userId"], pq.read_table(files.users), "id"), target.users)
    pq.write_table(favourites, target.favourites)
    pq.write_table(_of(favourites["itemId"], pq.read_table(files.items), "id"), target.items)


def _of(ids: pa.ChunkedArray, table: pa.Table, column: str) -> pa.Table:
    return table.filter(pc.is_in(table[column], value_set=ids.combine_chunks()))


@pytest.fixture
def shop(household_shop: tuple[LogCounts, ShopFiles], tmp_path: Path) -> Iterator[Path]:
    write_part(household_shop[1], tmp_path / ".penchant" / "data")
    yield tmp_path
    remove(tmp_path / ".penchant")


def start(shop: Path) -> RunningDemo:
    return RunningDemo(shop, free_ports(1)[0])


def answer_of_printed_curl(demo: RunningDemo) -> dict[str, Any]:
    """The recommendations that the printed `curl` command prints."""
    (line,) = re.findall(r"^curl .*$", demo.output(), re.MULTILINE)
    answered = subprocess.run(line, shell=True, check=True, capture_output=True)  # noqa: S602  # as people paste it
    return dict(json.loads(answered.stdout)["data"]["user"]["recommendations"])


@pytest.mark.timeout(600)
def test_the_demo_answers_trains_and_starts_quickly_the_second_time(shop: Path) -> None:
    assert shutil.which("curl"), "the tests need curl (README.md)"
    first = start(shop)
    try:
        first.until_printed("by what is popular")
        known = json.loads((first.folder / "demo.json").read_text())
        assert (first.folder / "demo.json").stat().st_mode & 0o777 == 0o600
        assert set(known) == {
            "base_url", "client_id", "client_secret", "users", "items", "postgres_url", "redis_url", "broker_url"
        }  # fmt: skip
        assert len(known["users"]) == HOUSEHOLDS
        first.until_printed(READY, 400)
        assert "Nothing was learnt" not in first.output()
        assert len(answer_of_printed_curl(first)["edges"]) == 5
        assert first.stop() == 0, first.output()
    finally:
        first.process.kill()
    second = start(shop)
    try:
        second.until_printed(READY, 60)
        assert "Loading" not in second.output()
        assert "Training" not in second.output()
        assert second.stop() == 0, second.output()
    finally:
        second.process.kill()

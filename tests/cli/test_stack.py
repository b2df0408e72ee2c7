"""The private stack: real servers, private addresses, no process or file left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cli.stack import processes
from cli.stack.errors import Busy, StackError
from cli.stack.folder import Folder, passable, remove_abandoned, removed_at_the_end
from cli.stack.processes import Command, Processes, is_starting
from cli.stack.stores import temporary_stack
from core import clock
from core.settings import Stores
from db.postgres import Pool
from tests.running import until

NOBODY = 65534

# Becomes another user if asked (what only root may read is loaded by then), starts a stack, prints where, waits.
HOLDER = """
import encodings.idna, json, os, sys
from cli.stack.stores import temporary_stack
if len(sys.argv) > 1:
    os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))
with temporary_stack() as stack:
    print(json.dumps([str(stack.folder.path), stack.start()]), flush=True)
    sys.stdin.readline()
"""


def running_in(folder: str) -> list[str]:
    """The command lines of all processes that use the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + b" " + bytes((process / "cwd").readlink())
        except OSError:
            continue
        if folder.encode() in words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts supervisors of a stack, as another user if asked; stops them after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*user: int, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *map(str, user)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


def address(process: subprocess.Popen[str]) -> tuple[str, dict[str, str]]:
    assert process.stdout is not None
    folder, urls = json.loads(process.stdout.readline())
    return folder, urls


async def test_the_database_is_migrated_and_empty(pool: Pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM items") == 0


async def test_valkey_is_empty(redis: Redis) -> None:
    assert await redis.dbsize() == 0


def test_every_store_needs_a_password_and_listens_on_loopback_only(stores: Stores) -> None:
    for url in (stores.postgres_url, stores.redis_url, stores.broker_url):
        _, _, rest = url.get_secret_value().partition("://")
        credentials, _, place = rest.rpartition("@")
        assert len(credentials.partition(":")[2]) >= 32
        assert place.startswith("127.0.0.1:")


def test_two_stacks_run_side_by_side_and_leave_nothing_behind(holder: Callable[..., subprocess.Popen[str]]) -> None:
    both = [holder(), holder()]
    (one, urls), (other, others) = map(address, both)
    assert not set(urls.values()) & set(others.values())
    assert running_in(one)
    assert running_in(other)
    for process in both:
        process.communicate("end\n")
    assert not running_in(one) + running_in(other)
    assert not Path(one).exists()


def test_a_killed_supervisor_leaves_no_process(holder: Callable[..., subprocess.Popen[str]]) -> None:
    process = holder()
    folder, _ = address(process)
    assert any("epmd" in line for line in running_in(folder))
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not running_in(folder), "its processes have ended", 20)


def test_two_schedulers_are_an_option_of_erlang_and_not_of_a_program_that_it_runs(
    holder: Callable[..., subprocess.Popen[str]],
) -> None:
    folder, _ = address(holder())
    (broker,) = (words for line in running_in(folder) if "beam.smp" in (words := line.split())[0])
    options = " ".join(broker[: broker.index("--")])
    assert "-S 2:2" in options
    assert "+sbwt" not in broker and "-S" not in broker[broker.index("--") :]


def test_a_normal_user_without_a_home_runs_a_stack_too(holder: Callable[..., subprocess.Popen[str]]) -> None:
    user = NOBODY if os.geteuid() == 0 and passable(Path(sys.prefix)) else os.geteuid()  # one who may read the program
    process = holder(*[user] * (user != os.geteuid()), HOME="/nonexistent", XDG_CACHE_HOME="")
    folder, urls = address(process)
    assert Path(folder).stat().st_uid == user
    assert set(urls) == {"postgres", "valkey", "rabbitmq"}
    process.communicate("end\n")
    assert not running_in(folder)


def test_a_given_address_is_used_and_nothing_is_started_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_REDIS_URL", "redis://elsewhere:1/0")
    with temporary_stack() as stack:
        assert stack.start(["valkey"]) == {"valkey": "redis://elsewhere:1/0"}
        assert not running_in(str(stack.folder.path))


def test_a_folder_has_one_stack_at_a_time(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    with folder.held(), pytest.raises(Busy, match="already runs"), folder.held():
        pass


def test_only_the_folders_of_killed_stacks_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, alive = (Folder.open(tmp_path / f"penchant-{name}") for name in ("dead", "alive"))
    with dead.held():
        pass
    with alive.held():
        remove_abandoned(tmp_path)
        assert dead.path.exists()  # it may not be locked yet
        later = clock.now() + timedelta(minutes=2)
        monkeypatch.setattr(clock, "now", lambda: later)
        remove_abandoned(tmp_path)
        assert not dead.path.exists()
        assert alive.path.exists()


def test_a_folder_that_is_removed_takes_along_what_its_links_name(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with removed_at_the_end("test") as path:
        (path / "postgres").symlink_to(elsewhere)
    assert not path.exists() and not elsewhere.exists()


def test_a_failed_command_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    processes = Processes()
    with pytest.raises(StackError, match="exit code 3:\nno luck"):
        processes.run(Command(["sh", "-c", "echo no luck; exit 3"], log=tmp_path / "try.log"))


def test_a_process_that_is_never_ready_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    children = Processes()
    slow = children.start(Command(["sh", "-c", "echo still reading; exec sleep 60"], log=log))
    try:
        until(lambda: log.read_text() != "", "it writes its log")
        with pytest.raises(StackError, match=rf"slow was not ready after 0 s(?s:.*){log}(?s:.*)still reading"):
            processes.wait_until(lambda: False, [slow], 0)
    finally:
        children.stop()


def test_a_process_that_ignores_the_stop_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    processes = Processes()
    stubborn = "trap '' TERM; sleep 1000 & echo ready; wait; wait"
    log = tmp_path / "stubborn.log"
    processes.start(Command(["sh", "-c", stubborn], log=log, folder=tmp_path))
    until(lambda: log.read_text() == "ready\n", "it runs", 20)
    processes.stop(timeout=0.2)
    until(lambda: not running_in(str(tmp_path)), "it and its child are killed", 5)


def test_a_frame_inside_a_start_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def popen(command: Command) -> None:
        seen.append(is_starting(sys._getframe()))

    monkeypatch.setattr(processes, "_popen", popen)
    Processes().start(Command(["true"], log=tmp_path / "log"))
    assert (seen, is_starting(sys._getframe())) == ([True], False)

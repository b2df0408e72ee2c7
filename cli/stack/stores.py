"""Starts the three stores side by side; a store whose address is in the environment is used, not started."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cli.stack.addresses import GIVEN
from cli.stack.errors import StackError
from cli.stack.folder import Folder, remove, remove_abandoned
from cli.stack.postgres import Postgres
from cli.stack.processes import Processes
from cli.stack.rabbitmq import RabbitMQ
from cli.stack.valkey import Valkey
from core.secret_files import read_secret

ATTEMPTS = 3
PORT_TAKEN = re.compile(r"in use|already_used|eaddrinuse|Failed to bind|already listening", re.IGNORECASE)
Say = Callable[[str], None]


class Store(Protocol):
    """One server: `prepare` may take long and runs in a thread, `launch` returns at once, `wait` returns the URL."""

    name: str

    def prepare(self) -> None:
        """Prepare its files."""

    def launch(self) -> None:
        """Start the processes, on fresh ports."""

    def wait(self) -> str:
        """Wait until the server answers; its URL."""


class Stack:
    """The stores of one folder."""

    def __init__(self, folder: Folder, processes: Processes, vhosts: Sequence[str] = ("penchant",)) -> None:
        self.folder = folder
        self.processes = processes
        self.postgres = Postgres(folder, processes)
        self.valkey = Valkey(folder, processes)
        self.rabbitmq = RabbitMQ(folder, processes, vhosts)
        self._urls = {name: url for name, key in GIVEN.items() if (url := read_secret(key))}

    def start(self, names: Sequence[str] = tuple(GIVEN), say: Say = lambda line: None) -> dict[str, str]:
        """Start the stores that do not run yet, side by side; the URL of each, by name.

        Call it from a thread that lives as long as the stores should: the kernel stops them with the thread.

        Raises:
            StackError: one of them did not start.
        """
        waiting = [store for store in self._stores(names) if store.name not in self._urls]
        began = time.monotonic()
        for store in _prepared(waiting, self.processes):
            store.launch()
        for store in waiting:
            self._urls[store.name] = _url_when_ready(store)
            say(f"{store.name} answers after {time.monotonic() - began:.1f} s")
        return {name: self._urls[name] for name in names}

    def _stores(self, names: Sequence[str]) -> list[Store]:
        every: dict[str, Store] = {"postgres": self.postgres, "valkey": self.valkey, "rabbitmq": self.rabbitmq}
        return [every[name] for name in names]


@contextmanager
def temporary_stack(vhosts: Sequence[str] = ("penchant",)) -> Iterator[Stack]:
    """A stack for tests: nothing is started yet, nothing is kept after the block."""
    remove_abandoned(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix="penchant-"))
    processes = Processes()
    with Folder.open(path, temporary=True).held() as folder:
        try:
            yield Stack(folder, processes, vhosts)
        finally:
            processes.stop()
            remove(path)


def _prepared(stores: Sequence[Store], processes: Processes) -> Iterator[Store]:
    """Each store as soon as it is prepared. After an error, no thread still runs a child."""
    if not stores:
        return
    with ThreadPoolExecutor(len(stores)) as threads:
        preparing: dict[Future[None], Store] = {threads.submit(store.prepare): store for store in stores}
        try:
            for future in as_completed(preparing):
                future.result()
                yield preparing[future]
        except BaseException:
            processes.stop()
            raise


def _url_when_ready(store: Store) -> str:
    """The URL once the store answers; launched again, on another port, when its port was taken meanwhile."""
    for _ in range(ATTEMPTS - 1):
        try:
            return store.wait()
        except StackError as error:
            if not PORT_TAKEN.search(str(error)):
                raise
            store.launch()
    return store.wait()

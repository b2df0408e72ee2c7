"""Start the three stores side by side and give out their addresses; those named in the environment are not started."""

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
from cli.stack.folder import Folder, remove, sweep
from cli.stack.postgres import Postgres
from cli.stack.processes import Processes
from cli.stack.rabbitmq import RabbitMQ
from cli.stack.valkey import Valkey
from core.secret_files import read_secret

ATTEMPTS = 3
PORT_TAKEN = re.compile(r"in use|eaddrinuse|Failed to bind|already listening", re.IGNORECASE)
Say = Callable[[str], None]


class Store(Protocol):
    """One server: `prepare` may take its time in a thread, `launch` returns at once, `wait` gives the address."""

    name: str

    def prepare(self) -> None:
        """Make everything ready on the disk."""

    def launch(self) -> None:
        """Start the processes, on fresh ports."""

    def wait(self) -> str:
        """Wait until it answers; its URL."""


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
        """Start those that do not run yet, side by side; the URL of each, by name.

        Call it from a thread that lives as long as the stores should: the kernel ends them with it.

        Raises:
            StackError: one of them did not come up.
        """
        waiting = [store for store in self._stores(names) if store.name not in self._urls]
        began = time.monotonic()
        for store in _prepared(waiting, self.processes):
            store.launch()
        for store in waiting:
            self._urls[store.name] = _answering(store)
            say(f"{store.name} answers after {time.monotonic() - began:.1f} s")
        return {name: self._urls[name] for name in names}

    def _stores(self, names: Sequence[str]) -> list[Store]:
        every: dict[str, Store] = {"postgres": self.postgres, "valkey": self.valkey, "rabbitmq": self.rabbitmq}
        return [every[name] for name in names]


@contextmanager
def temporary_stack(vhosts: Sequence[str] = ("penchant",)) -> Iterator[Stack]:
    """A stack for tests: nothing is started yet, nothing is kept."""
    sweep(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix="penchant-"))
    processes = Processes()
    with Folder.open(path, temporary=True).held() as folder:
        try:
            yield Stack(folder, processes, vhosts)
        finally:
            processes.stop()
            remove(path)


def _prepared(stores: Sequence[Store], processes: Processes) -> Iterator[Store]:
    """Each store as soon as it is prepared. Interrupted, nothing stays behind in a thread."""
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


def _answering(store: Store) -> str:
    """The URL once it answers; another port when somebody else was quicker."""
    for _ in range(ATTEMPTS - 1):
        try:
            return store.wait()
        except StackError as error:
            if not PORT_TAKEN.search(str(error)):
                raise
            store.launch()
    return store.wait()

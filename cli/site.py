"""A whole Penchant on one machine: the stores, the gateway and the worker, under one supervisor."""

import contextlib
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import typer

from cli.running import announced
from cli.stack.addresses import environment
from cli.stack.errors import StackError
from cli.stack.folder import Folder
from cli.stack.processes import Command, Process, Processes, is_starting, wait_until
from cli.stack.stores import Stack
from core.secret_files import read_secret

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)  # the last: one that was put off
PUT_OFF = 0.05  # seconds
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine is not behind a proxy


class Site:
    """What `penchant up` and `penchant demo` run, in one folder."""

    def __init__(self, folder: Folder, processes: Processes, port: int) -> None:
        self.folder = folder
        self.processes = processes
        self.reserved = _reserved(port)
        self.port = int(self.reserved.getsockname()[1])
        self.stack = Stack(folder, processes)
        self.settings: dict[str, str] = {}
        self.ready = False

    @property
    def base_url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.port}"

    def start_stores(self, say: Callable[[str], None]) -> None:
        """Start the stores, bring the database's schema up to date, and settle every setting."""
        from db.migrate import upgrade

        urls = self.stack.start(say=say)
        upgrade(urls["postgres"])
        self.settings = {
            **environment(urls),
            "PENCHANT_SECRET": read_secret("PENCHANT_SECRET") or self.folder.secret("gateway"),
            "PENCHANT_BUNDLES": os.environ.get("PENCHANT_BUNDLES") or str(self.folder.path / "bundles"),
            "PENCHANT_HOST": "127.0.0.1",
            "PENCHANT_PORT": str(self.port),
            "PENCHANT_PUBLIC_URL": self.base_url,
            "PENCHANT_GRAPHIQL": os.environ.get("PENCHANT_GRAPHIQL", "true"),
        }
        Path(self.settings["PENCHANT_BUNDLES"]).mkdir(parents=True, exist_ok=True)

    def start_services(self) -> None:
        """Start gateway and worker; the gateway answers when this returns."""
        gateway = self.processes.start(self.command("gateway"))
        self.processes.start(self.command("worker"))
        wait_until(lambda: answers(f"{self.base_url}/readyz"), [gateway], 60)

    def command(self, *words: str | Path, shown: bool = False, niceness: int = 0) -> Command:
        """One of our own commands, with the settings of this site."""
        return Command(
            [Path(sys.executable).with_name("penchant"), *words],
            log=self.folder.log(str(words[0])),
            environment={**_without_files_of(self.settings), **self.settings, "PYTHONUNBUFFERED": "1"},
            shown=shown,
            niceness=niceness,
        )

    def watch(self) -> None:
        """Return never: nothing is restarted silently. From here on, being stopped is a success.

        Raises:
            StackError: a process ended.
        """
        self.ready = True
        while True:
            ended: Process | None = self.processes.ended()
            if ended is not None:
                raise StackError(f"{ended.command.name} ended with {ended.exit_code}:\n{ended.last_words()}")
            time.sleep(0.3)


@contextlib.contextmanager
def opened(path: Path, port: int) -> Iterator[Site]:
    """A site nobody else runs. However the block ends, everything it started has ended when this returns.

    Raises:
        Busy: somebody else runs it.
        typer.Exit: somebody stopped it, by Ctrl-C, a signal, or closing the terminal; code 130 before it was ready.
    """
    os.umask(0o077)
    with _stoppable(), Folder.open(path).held() as folder:
        site = Site(folder, Processes(), port)
        try:
            yield site
        except KeyboardInterrupt:
            typer.echo("Stopping ...", err=True)
            raise typer.Exit(0 if site.ready else 130) from None
        finally:
            for each in STOP_SIGNALS:
                signal.signal(each, signal.SIG_IGN)
            site.processes.stop(patience=35)  # they promise to be done in 30 s
            site.reserved.close()


@contextlib.contextmanager
def serving(site: Site) -> Iterator[None]:
    """While the block runs, other commands find the site's settings."""
    with announced(site.folder.path, site.settings):
        yield


def _without_files_of(settings: dict[str, str]) -> dict[str, str]:
    """Our environment, less the files of secrets that are given in the open here."""
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in settings}


def answers(url: str) -> bool:
    """Whether a GET there is answered with success."""
    try:
        with DIRECT.open(url, timeout=2) as response:
            return bool(response.status < 400)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Every stop signal becomes the same exception; signals that are ignored stay ignored.

    Put off while a child is being started: what is raised amid a fork is lost, and a child half started is nobody's.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if is_starting(frame):
            signal.setitimer(signal.ITIMER_REAL, PUT_OFF)
        else:
            raise KeyboardInterrupt

    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _reserved(wanted: int) -> socket.socket:
    """The port asked for, or another one, said clearly, when it is taken: nobody else gets it until the gateway does.

    Bound and not listening, it keeps the kernel from giving the port away, and lets a server bind it that allows reuse.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind(("127.0.0.1", wanted))
    except OSError:
        reserved.bind(("127.0.0.1", 0))
        typer.echo(f"Port {wanted} is taken: the gateway will listen on {reserved.getsockname()[1]} instead.")
    return reserved

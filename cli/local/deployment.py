"""A whole Penchant on one machine: the stores, gateway, worker, beat and trainer, under one supervisor."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import typer

from cli.gateway_client import answers
from cli.local.stack_files import published_settings
from cli.stack.addresses import GIVEN, environment
from cli.stack.errors import StackError
from cli.stack.folder import Folder
from cli.stack.processes import Command, Process, Processes, is_starting, wait_until
from cli.stack.stores import Stack
from core.secret_files import read_secret
from core.setting_faults import SettingsRefused

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)  # SIGALRM: a stop that was postponed
POSTPONED = 0.05  # seconds
STOP_TIMEOUT = 35.0  # seconds; gateway and worker promise to end in 30
WATCH_INTERVAL = 0.3  # seconds
BACKGROUND_NICENESS = 5


class Deployment:
    """The processes that `penchant up` and `penchant demo` run, in one folder."""

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
        """The gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def postgres_url(self) -> str:
        """The database's address, once the stores are started."""
        return self.settings[GIVEN["postgres"]]

    def start_stores(self, say: Callable[[str], None]) -> None:
        """Start the stores, check their versions, migrate the database, and fix every setting.

        Raises:
            StackError: a store did not start, or its version is too old.
        """
        urls = self.stack.start(say=say)
        _migrate(urls, say)
        self.settings = {
            **environment(urls),
            "PENCHANT_SECRET": read_secret("PENCHANT_SECRET") or self.folder.secret("gateway"),
            "PENCHANT_BUNDLES": os.environ.get("PENCHANT_BUNDLES") or str(self.folder.path / "bundles"),
            "PENCHANT_LISTS_URL": os.environ.get("PENCHANT_LISTS_URL") or str(self.folder.path / "lists"),
            "PENCHANT_LOADS_URL": os.environ.get("PENCHANT_LOADS_URL")
            or os.environ.get("PENCHANT_LAKE_URL")
            or str(self.folder.path / "loads"),
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
        port = os.environ.get("PENCHANT_PROBE_PORT") or self.port
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), [gateway], 60)

    def start_background(self) -> None:
        """Start beat and trainer, which no answer waits for, at low priority."""
        for name in ("beat", "trainer"):
            self.processes.start(self.command(name, niceness=BACKGROUND_NICENESS, to_session=True))

    def command(self, *words: str | Path, shown: bool = False, niceness: int = 0, to_session: bool = False) -> Command:
        """One of our own commands, with the settings of this deployment."""
        return Command(
            [Path(sys.executable).with_name("penchant"), *words],
            log=self.folder.log(str(words[0])),
            environment={**_without_files_of(self.settings), **self.settings, "PYTHONUNBUFFERED": "1"},
            shown=shown,
            niceness=niceness,
            to_session=to_session,
        )

    def watch(self) -> None:
        """Watch the processes for ever; from now on a stop is a success. Nothing is restarted silently.

        Raises:
            StackError: a process ended.
        """
        self.ready = True
        while True:
            ended: Process | None = self.processes.ended()
            if ended is not None:
                raise StackError(f"{ended.command.name} ended with {ended.exit_code}:\n{ended.log_tail()}")
            time.sleep(WATCH_INTERVAL)

    def published(self) -> contextlib.AbstractContextManager[None]:
        """While the block runs, other commands find the deployment's settings."""
        return published_settings(self.folder.path, self.settings)


@contextlib.contextmanager
def open_deployment(path: Path, port: int) -> Iterator[Deployment]:
    """A deployment that no other process runs. Everything it started has ended when the block has.

    Raises:
        SettingsRefused: a setting in the environment is wrong.
        Busy: another process runs it.
        typer.Exit: it was stopped, by Ctrl-C, a signal, or closing the terminal; code 130 before it was ready.
    """
    _refuse_wrong_settings()
    os.umask(0o077)
    with _stoppable(), Folder.open(path).held() as folder:
        deployment = Deployment(folder, Processes(), port)
        try:
            yield deployment
        except KeyboardInterrupt:
            typer.echo("Stopping ...", err=True)
            raise typer.Exit(0 if deployment.ready else 130) from None
        finally:
            for each in STOP_SIGNALS:
                signal.signal(each, signal.SIG_IGN)
            deployment.processes.stop(STOP_TIMEOUT)
            deployment.reserved.close()


def _migrate(urls: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Migrate the database of servers that are new enough. A schema that is newer than this program is left alone."""
    from cli.checkup.versions import check_versions
    from db.migrate import upgrade

    found = asyncio.run(check_versions(urls["postgres"], urls["valkey"], urls["rabbitmq"]))
    old = [each for each in found if each.verdict == "FAIL" and each.about != "schema"]
    if old:
        raise StackError("\n".join(f"{each.about}: {each.says}. {each.advice}" for each in old))
    newer = [each for each in found if each.verdict == "WARN"]
    for each in newer:
        say(f"{each.about}: {each.says}. {each.advice}")
    if not newer:
        upgrade(urls["postgres"])


def _refuse_wrong_settings() -> None:
    """Refuse settings that a service would refuse. Those that are missing are set when the stores have started."""
    from core.settings import CONCERNS, Settings

    faults = [fault for fault in Settings().faults(*CONCERNS) if not fault.missing]
    if faults:
        raise SettingsRefused(faults)


def _without_files_of(settings: dict[str, str]) -> dict[str, str]:
    """Our environment, without the files of secrets that `settings` gives as values."""
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in settings}


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Every stop signal raises KeyboardInterrupt; signals that are ignored stay ignored.

    A stop is postponed while a child is being started: an exception raised during a fork is lost, and a child that is
    half started is in nobody's list.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if is_starting(frame):
            signal.setitimer(signal.ITIMER_REAL, POSTPONED)
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
    """A socket that reserves the wanted port until the gateway takes it, or another port when it is taken.

    It is bound and does not listen: the kernel gives the port to no other process, and a server that allows reuse can
    still bind it.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind(("127.0.0.1", wanted))
    except OSError:
        reserved.bind(("127.0.0.1", 0))
        typer.echo(f"Port {wanted} is taken: the gateway will listen on {reserved.getsockname()[1]} instead.")
    return reserved

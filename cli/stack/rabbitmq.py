"""A private RabbitMQ with its own Erlang port mapper, from the machine's programs or else from Debian's packages."""

import base64
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import amqp

from cli.stack.debian import unpacked_rabbitmq
from cli.stack.folder import Folder, free_ports, write_private
from cli.stack.processes import Command, Process, Processes, wait_until

USER = "penchant"
INSTALLED = Path("/usr/lib/rabbitmq/bin")  # not /usr/sbin/rabbitmq-server, which changes to another user
LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
IDLE_QUIETLY = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"


class RabbitMQ:
    """One broker. It reads users and vhosts from definitions at boot, so no control command is needed."""

    name = "rabbitmq"

    def __init__(self, folder: Folder, processes: Processes, vhosts: Sequence[str] = ("penchant",)) -> None:
        self._folder = folder
        self._processes = processes
        self._vhosts = vhosts
        self._home = folder.path / "rabbitmq"
        self._password = folder.secret("rabbitmq")
        self._port = 0
        self._running: list[Process] = []
        self._root: Path | None = None

    def prepare(self) -> None:
        """Find the programs, or download them, and write the definitions of users and vhosts."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        if not (INSTALLED / "rabbitmq-server").exists() or not shutil.which("erl"):
            self._root = unpacked_rabbitmq(self._processes, self._folder.log("fetch-rabbitmq"))
        write_private(self._home / "definitions.json", json.dumps(self._definitions()))
        write_private(self._home / "enabled_plugins", "[].")

    def launch(self) -> None:
        """Start the port mapper, in the foreground so that we can stop it, then the broker."""
        self._processes.stop_some(self._running)
        self._port, distribution, mapper = free_ports(3)
        write_private(self._home / "rabbitmq.conf", self._configuration())
        environment = self._environment(distribution, mapper)
        erlang = shutil.which("epmd", path=environment["PATH"]) or "epmd"
        mapping = self._command([erlang, "-port", str(mapper), "-address", "127.0.0.1"], "epmd", environment)
        self._running = [self._processes.start(mapping)]
        wait_until(lambda: _listens(mapper), self._running, 10)
        broker = self._command([self._programs / "rabbitmq-server"], "rabbitmq", environment)
        self._running.insert(0, self._processes.start(broker))

    def wait(self) -> str:
        """Wait until we can log in; the URL of its first vhost.

        Raises:
            StackError: the broker did not start.
        """
        wait_until(self._answers, self._running, 120)
        return self.url(self._vhosts[0])

    def url(self, vhost: str) -> str:
        """The address of one vhost."""
        return f"amqp://{USER}:{self._password}@127.0.0.1:{self._port}/{vhost}"

    def _answers(self) -> bool:
        """Whether we can log in: the port is open before the broker is ready."""
        if not _listens(self._port):
            return False
        try:
            with amqp.Connection(
                f"127.0.0.1:{self._port}",
                userid=USER,
                password=self._password,
                virtual_host=self._vhosts[0],
                connect_timeout=5,
            ):
                return True
        except (OSError, amqp.exceptions.AMQPError):
            return False

    @property
    def _programs(self) -> Path:
        return INSTALLED if self._root is None else self._root / "usr/lib/rabbitmq/bin"

    def _configuration(self) -> str:
        lines = {
            "listeners.tcp.1": f"127.0.0.1:{self._port}",
            "load_definitions": self._home / "definitions.json",
            "vm_memory_high_watermark.absolute": "512MB",
            "disk_free_limit.absolute": "200MB",
            "log.console": "false",
            "loopback_users": "none",
        }
        return "".join(f"{name} = {value}\n" for name, value in lines.items())

    def _definitions(self) -> dict[str, Any]:
        rights = {"user": USER, "configure": ".*", "write": ".*", "read": ".*"}
        user = {"name": USER, "password_hash": _hashed(self._password), "tags": "administrator", "limits": {}}
        return {
            "users": [{**user, "hashing_algorithm": "rabbit_password_hashing_sha256"}],
            "vhosts": [{"name": vhost} for vhost in self._vhosts],
            "permissions": [{"vhost": vhost, **rights} for vhost in self._vhosts],
        }

    def _environment(self, distribution: int, mapper: int) -> dict[str, str]:
        """The broker's whole environment, so that it reads and writes nothing outside of its folder."""
        home = self._home
        return {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            **_paths(self._root),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(self._folder.log("erl_crash")),
            "RABBITMQ_NODENAME": "penchant@localhost",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder.path / "logs"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{LOOPBACK_ONLY} {IDLE_QUIETLY}",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes Erlang instead of waiting beside it
        }

    def _command(self, words: list[str | Path], name: str, environment: dict[str, str]) -> Command:
        log = self._folder.log(name)
        return Command(
            words, log=log, environment=environment, folder=self._home, misses_signals=True
        )  # while it boots


def _paths(root: Path | None) -> dict[str, str]:
    if root is None:
        return {"PATH": os.environ.get("PATH", os.defpath)}
    libraries = sorted({str(each.parent) for each in root.glob("**/*-linux-gnu*/*.so*")})
    return {"PATH": f"{root}/usr/lib/erlang/bin:{os.defpath}", "LD_LIBRARY_PATH": ":".join(libraries)}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _hashed(password: str) -> str:
    """RabbitMQ's rabbit_password_hashing_sha256: base64(salt + sha256(salt + password))."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()

"""One temporary stack for all processes of a test run: each asks for the stores it needs through a socket."""

import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from cli.stack.addresses import GIVEN
from cli.stack.postgres import create_database
from cli.stack.stores import Stack, temporary_stack
from core.errors import PenchantError
from db.migrate import upgrade

TEMPLATE = "penchant_template"


class Addresses:
    """The private addresses of every process (member) of the run, made on demand."""

    def __init__(self, stack: Stack, members: Sequence[str]) -> None:
        self._stack = stack
        self._members = list(members)
        self._databases: dict[str, str] = {}

    def of(self, member: str, names: Sequence[str]) -> dict[str, str]:
        """The URL of each named store for this member: a database, a database number, a vhost of its own."""
        urls = self._stack.start(names)
        return {name: getattr(self, f"_{name}")(urls[name], member) for name in names}

    def _postgres(self, url: str, member: str) -> str:
        """A copy of the migrated template for each member; on a given server it may be left from an earlier run."""
        if member not in self._databases:
            template, own = _other_database(url, TEMPLATE), _other_database(url, f"penchant_test_{member}")
            if not self._databases:
                create_database(url, TEMPLATE)
                upgrade(template)
            create_database(url, f"penchant_test_{member}", TEMPLATE)
            upgrade(own)
            self._databases[member] = own
        return self._databases[member]

    def _valkey(self, url: str, member: str) -> str:
        first = int(urlsplit(url).path.strip("/") or 0)
        return _other_database(url, str(first + self._members.index(member)))

    def _rabbitmq(self, url: str, member: str) -> str:
        return url if os.environ.get(GIVEN["rabbitmq"]) else self._stack.rabbitmq.url(member)


@contextmanager
def served(members: Sequence[str]) -> Iterator[str]:
    """Serve the stack to the members until the block ends; the path of the socket for `ask`.

    One thread answers one request after the other and starts the servers itself, because they end with the thread.
    """
    with temporary_stack(members) as stack:
        path = str(stack.folder.path / "socket")
        with _Server(path, Addresses(stack, members)) as server:
            Path(path).chmod(0o600)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            try:
                yield path
            finally:
                server.shutdown()


def ask(path: str, member: str, *names: str) -> dict[str, str]:
    """The URLs of these stores for this member.

    Raises:
        PenchantError: they could not be started; the message says why.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps([member, names]).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if "error" in answer:
        raise PenchantError(answer["error"])
    return dict(answer)


class _Server(socketserver.UnixStreamServer):
    def __init__(self, path: str, addresses: Addresses) -> None:
        super().__init__(path, _Request)
        self.addresses = addresses


class _Request(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        member, names = json.loads(self.rfile.readline())
        try:
            answer = cast(_Server, self.server).addresses.of(member, names)
        except Exception as error:  # every error is an answer: the member waits for one
            answer = {"error": f"{type(error).__name__}: {error}"}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def _other_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()

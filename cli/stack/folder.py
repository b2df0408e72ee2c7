"""The folder of a stack: its secrets, its lock, and who may read what."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.stack.errors import Busy
from cli.stack.processes import NOBODY
from core import clock

LOCK_GRACE = 60.0  # seconds; a younger folder may not be locked yet


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one stack. `temporary` stacks trade durability for speed and are removed at the end."""

    path: Path
    temporary: bool = False

    @classmethod
    def open(cls, path: Path, *, temporary: bool = False) -> "Folder":
        """Make the folder if it does not exist. Others may not read it; as root, the servers' user may pass through."""
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711 if as_root() else 0o700)
        (path / "logs").mkdir(mode=0o700, exist_ok=True)
        return cls(path.resolve(), temporary)

    def log(self, name: str) -> Path:
        """The log file of the process of that name."""
        return self.path / "logs" / f"{name}.log"

    def secret(self, name: str) -> str:
        """A random secret that stays the same for this folder."""
        known = self._secrets()
        if name not in known:
            known[name] = secrets.token_urlsafe(32)
            write_private(self.path / "secrets.json", json.dumps(known))
        return known[name]

    def _secrets(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.path / "secrets.json").read_text()))
        except FileNotFoundError:
            return {}

    @contextlib.contextmanager
    def held(self) -> Iterator["Folder"]:
        """Lock the folder while the block runs.

        Raises:
            Busy: another process has locked it.
        """
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(f"A stack already runs in {self.path}; stop it first.") from error
            yield self

    def unprivileged_home(self, name: str) -> Path:
        """A subfolder owned by the unprivileged user; a link into /var/tmp when that user cannot reach this one."""
        link = self.path / name
        if not link.is_symlink() and not link.exists():
            if passable(self.path):
                link.mkdir(mode=0o700)
            else:
                link.symlink_to(tempfile.mkdtemp(prefix="penchant-", dir="/var/tmp"))
        os.chown(link, NOBODY, NOBODY)
        return link.resolve()


def as_root() -> bool:
    """Whether we are root: servers that refuse root then need another user."""
    return os.geteuid() == 0


def passable(path: Path) -> bool:
    """Whether every user may pass through every folder down to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents])


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically by one that only its owner may read."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.rename(path)


def remove(path: Path) -> None:
    """Remove a stack's folder, and the folders that links in it name."""
    for link in path.glob("*"):
        if link.is_symlink():
            shutil.rmtree(link.resolve(), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def removed_at_the_end(prefix: str) -> Iterator[Path]:
    """A new folder for a stack, named `penchant-PREFIX-...`. It is removed after the block, or once abandoned."""
    path = Path(tempfile.mkdtemp(prefix=f"penchant-{prefix}-"))
    try:
        yield path
    finally:
        remove(path)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of temporary stacks whose supervisor was killed: their lock is free."""
    for lock in parent.glob("penchant-*/lock"):
        with contextlib.suppress(OSError), lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if clock.now().timestamp() - lock.stat().st_ctime > LOCK_GRACE:
                remove(lock.parent)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that no process listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def cache_folder() -> Path:
    """A folder for downloads, shared by all stacks of this user."""
    base = os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path.home() / ".cache"
    try:
        (home / "penchant").mkdir(parents=True, exist_ok=True)
        return home / "penchant"
    except OSError:
        return _cache_without_home()


def _cache_without_home() -> Path:
    path = Path(tempfile.gettempdir()) / f"penchant-cache-{os.geteuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        return Path(tempfile.mkdtemp(prefix="penchant-cache-"))
    return path

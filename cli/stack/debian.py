"""RabbitMQ and Erlang from Debian's packages, unpacked into a cache folder: without root, nothing is installed."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from cli.stack.errors import Missing, StackError
from cli.stack.folder import cache_folder
from cli.stack.processes import Command, Processes

PACKAGE = "rabbitmq-server"
ADVICE = "Install RabbitMQ (Debian: apt-get install rabbitmq-server) or name one in PENCHANT_BROKER_URL."


def unpacked_rabbitmq(processes: Processes, log: Path) -> Path:
    """The root of an unpacked RabbitMQ, downloaded once for all stacks of this user (35 MB, seconds).

    Raises:
        Missing: this is not Debian.
        StackError: the download failed.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Missing(f"No RabbitMQ here, and no apt-get to fetch it with. {ADVICE}")
    target = cache_folder() / f"rabbitmq-{_release()}"
    with target.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(target, processes, log)
    return target


def _release() -> str:
    """A short name of this system and machine, which the packages depend on."""
    try:
        text = Path("/etc/os-release").read_bytes() + os.uname().machine.encode()
    except OSError:
        text = b"unknown"
    return hashlib.sha256(text).hexdigest()[:12]


def _fetch(target: Path, processes: Processes, log: Path) -> None:
    work = target.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "packages", "root"):
        (work / folder).mkdir(parents=True)
    try:
        _download(work, processes, log)
    except StackError as error:
        raise StackError(f"Debian's RabbitMQ could not be fetched. {ADVICE}\n{error}") from error
    for package in sorted((work / "packages").glob("*.deb")):
        processes.run(_command(["dpkg", "-x", package, work / "root"], work, log))
    _relocate(work / "root", target)
    (work / "root").rename(target)
    shutil.rmtree(work)


def _download(work: Path, processes: Processes, log: Path) -> None:
    """Download the package and its dependencies that are not installed, with lists and a cache of our own."""
    options = [f"Dir::State::lists={work}/lists", f"Dir::Cache={work}/cache", "Debug::NoLocking=1"]
    options += ["APT::Sandbox::User=root", "Acquire::Languages=none"]
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    processes.run(_command([*apt, "update"], work, log))
    plan = work / "plan.log"
    processes.run(_command([*apt, "--simulate", "--no-install-recommends", "install", PACKAGE], work, plan))
    names = [line.split()[1] for line in plan.read_text().splitlines() if line.startswith("Inst ")]
    processes.run(_command([*apt, "download", *names], work / "packages", log))


def _command(words: list[str | Path], folder: Path, log: Path) -> Command:
    return Command(words, log=log, environment={**os.environ, "LC_ALL": "C"}, folder=folder)


def _relocate(root: Path, target: Path) -> None:
    """Write the final folder into Erlang's start script, which ignores ERL_ROOTDIR."""
    script = root / "usr/lib/erlang/bin/erl"
    script.write_text(script.read_text().replace("ROOTDIR=/usr/lib/erlang", f'ROOTDIR="{target}/usr/lib/erlang"'))

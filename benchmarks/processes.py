"""CPU time, memory and children of processes, read from /proc."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cpu_seconds(pid: int, with_ended_children: bool = False) -> float:
    """User and system CPU seconds of one process; those of its ended children are added on request."""
    fields = stat_fields(pid)
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / os.sysconf("SC_CLK_TCK")


def running_seconds(pid: int) -> float:
    """CPU seconds of the process's present threads, to the nanosecond: `cpu_seconds` counts ticks of 10 ms."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def waiting_seconds(pid: int) -> float:
    """Seconds that the main thread of the process could have run and waited for a core."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


@contextmanager
def alone_on_a_core(pid: int) -> Iterator[None]:
    """While the block runs, this process has one core, and the rest has the others.

    The rest are all processes that the parent of `pid` started, with their children, and this process: the stores, the
    workers and the callers. Nothing is moved on a machine with one core.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield
        return
    rest = {os.getpid(), *_with_children(int(stat_fields(pid)[1]))} - {pid}
    own = {max(cores)}
    try:
        _run_on([pid], own)
        _run_on(rest, cores - own)
        yield
    finally:
        _run_on([pid, *rest], cores)


def _with_children(pid: int) -> set[int]:
    return {pid}.union(*map(_with_children, children_of(pid)))


def _run_on(pids: Collection[int], cores: Collection[int]) -> None:
    """Let all threads of these processes run on these cores alone, if they are ours and have not ended."""
    for pid in pids:
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def resident_mb(pid: int) -> float:
    """Resident memory in megabytes, shared pages of mapped bundles included."""
    return _status_mb(pid, "VmRSS:")


def own_memory_mb(pid: int) -> float:
    """Anonymous resident memory in megabytes: what the process shares with no other."""
    return _status_mb(pid, "RssAnon:")


def children_of(pid: int) -> list[int]:
    """The running child processes, lowest id first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = stat_fields(int(entry.name))[:2]
        except OSError:  # the process ended after it was listed
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(entry.name))
    return sorted(found)


def listening_process(port: int) -> int:
    """The id of the process that listens on this TCP port. Raises RuntimeError when none of ours does."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    inodes = {
        f"socket:[{line[9]}]" for line in lines if line[3] == "0A" and int(line[1].rpartition(":")[2], 16) == port
    }
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) in inodes:  # noqa: PTH115 - a socket's name, not a path
                return int(descriptor.parts[2])
        except OSError:
            continue
    raise RuntimeError(f"No process of this user listens on port {port}")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: state, parent, ..., utime at 11. Raises OSError when it ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status_mb(pid: int, key: str) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition(key)[2].split()[0]) / 1024

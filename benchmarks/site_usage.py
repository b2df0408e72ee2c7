"""CPU time and memory of each part of a running site: gateway, worker, stores and the benchmark's own senders."""

import os
from collections import Counter
from pathlib import Path

from benchmarks.processes import cpu_seconds, own_memory_mb, stat_fields

PROGRAMS = {"postgres": "postgres", "beam.smp": "rabbitmq", "epmd": "rabbitmq", "valkey-server": "redis"}


def cpu_by_part() -> Counter[str]:
    """CPU seconds so far of this process and its descendants, by part of the site."""
    found: Counter[str] = Counter()
    for pid, part in _parts().items():
        found[part] += cpu_seconds(pid, with_ended_children=True)  # type: ignore[assignment]
    return found


def memory_by_part() -> dict[str, float]:
    """Megabytes that each part's largest process shares with no other."""
    found: dict[str, float] = {}
    for pid, part in _parts().items():
        found[part] = max(found.get(part, 0.0), own_memory_mb(pid))
    return found


def _parts() -> dict[int, str]:
    """The part of the site that this process and each of its descendants belong to."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        try:
            program, words = (entry / "comm").read_text().strip(), (entry / "cmdline").read_text().split("\0")
            parents[pid] = int(stat_fields(pid)[1])
        except OSError:  # the process ended after it was listed
            continue
        names[pid] = _part(program, words)
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: names[pid] for pid in ours if pid in names}


def _part(program: str, words: list[str]) -> str:
    for part in ("gateway", "worker"):
        if part in words:
            return part
    return PROGRAMS.get(program, "sender")

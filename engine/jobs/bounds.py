"""What a training may use: time, and memory, so that it ends with a reason before the system kills it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import PenchantError
from core.settings import Trainings

MIB: Final = 2**20
SHARE: Final = 0.9  # of the memory that is there, where no setting says more
_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
_TOTAL: Final = "/proc/meminfo"
_OWN: Final = Path("/proc/self/statm")


class BoundExceeded(PenchantError):
    """The training used more time or memory than it may."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The seconds and bytes that a training may use; None: any."""

    seconds: float | None = None
    memory: int | None = None

    @classmethod
    def of(cls, settings: Trainings) -> "Bounds":
        """Those of the settings; by default nine tenths of the memory of the container, or of the machine."""
        if settings.training_memory is not None:
            return cls(settings.training_deadline, settings.training_memory * MIB)
        there = memory_there()
        return cls(settings.training_deadline, None if there is None else int(there * SHARE))

    def check(self, began: float) -> None:
        """Raise BoundExceeded once the training that began at this second of the monotonic clock is beyond a bound."""
        if self.seconds is not None and time.monotonic() - began > self.seconds:
            raise BoundExceeded(
                f"The training took longer than {self.seconds:g} seconds (PENCHANT_TRAINING_DEADLINE) and was stopped."
            )
        used = None if self.memory is None else memory_used()
        if self.memory is not None and used is not None and used > self.memory:
            raise BoundExceeded(
                f"The training used {used // MIB:,} MiB of memory, may use {self.memory // MIB:,} MiB"
                " (PENCHANT_TRAINING_MEMORY), and was stopped before the system kills it."
            )


def memory_used() -> int | None:
    """The bytes of memory that this process holds (its resident set); None where /proc does not say it."""
    try:
        return int(_OWN.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def memory_there() -> int | None:
    """The bytes of memory of this container, or of the machine where that is less; None where nothing says it."""
    return min(filter(None, [*map(_limit, _LIMITS), _machine()]), default=None)


def _limit(file: str) -> int | None:
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):  # no such file, or `max`
        return None


def _machine() -> int | None:
    try:
        return int(Path(_TOTAL).read_text().split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None

"""Several processes of one program that share what was loaded before they began: kept running, stopped together."""

import ctypes
import gc
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from types import FrameType
from typing import Protocol

import structlog

log = structlog.get_logger()

CANNOT_START = 3  # exit code of a process that could not begin
LOOK = 0.1  # seconds between looks at the processes
FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0  # seconds until a process that ended begins again, doubled each time
SETTLED = 60.0  # seconds after which a process that ends is an accident, not a habit
PATIENCE = 35.0  # seconds until those that were told to stop are killed
STOP = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1

Ready = Callable[[], None]


class Serve(Protocol):
    """What each process does."""

    def __call__(self, *, ready: Ready) -> None:
        """Serve until SIGTERM; call `ready` when it is."""
        ...


@dataclass
class Sibling:
    """One place among the siblings, and whoever fills it."""

    process: ForkProcess | None = None
    began: float = 0.0
    wait: float = FIRST_WAIT
    due: float = 0.0
    flag: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 1))  # shared with the process: 1 when it was ready

    @property
    def was_ready(self) -> bool:
        """Whether the process, or one before it in this place, was ever ready."""
        return self.flag[0] == 1


class Siblings:
    """`count` processes that run `serve`, forked from this one, which must have no threads and no event loop.

    `before_end` gives back what this process holds for them: a socket that should be closed when they close it.
    """

    def __init__(self, count: int, serve: Serve, *, before_end: Callable[[], None]) -> None:
        self._serve = serve
        self._before_end = before_end
        self._places = [Sibling() for _ in range(count)]
        self._stopping = False

    def run(self) -> int:
        """Keep them running until SIGTERM or SIGINT, then stop them; the exit code.

        What ends is started again, ever later. When none was ever ready and one cannot start, all stop.
        """
        gc.collect()
        gc.freeze()  # so that no collection in a child writes into the pages it shares
        before = {number: signal.signal(number, self._stop) for number in STOP}
        code = 0
        try:
            while not self._stopping and not code:
                code = self._look()
                time.sleep(LOOK)
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
        return code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _look(self) -> int:
        """Note who ended and start who is due; the exit code when there is no point in going on."""
        now = time.monotonic()
        for place in self._places:
            process = place.process
            if process is not None and process.exitcode is not None:
                if process.exitcode == CANNOT_START and not any(each.was_ready for each in self._places):
                    return CANNOT_START
                self._note(place, process, now)
            if place.process is None and now >= place.due:
                self._start(place)
        return 0

    def _note(self, place: Sibling, process: ForkProcess, now: float) -> None:
        if now - place.began >= SETTLED:
            place.wait = FIRST_WAIT
        log.error("process_ended", ended_pid=process.pid, exit_code=process.exitcode, again_in=place.wait)
        place.due, place.wait, place.process = now + place.wait, min(2 * place.wait, LONGEST_WAIT), None

    def _start(self, place: Sibling) -> None:
        place.began = time.monotonic()
        place.process = get_context("fork").Process(target=self._begin, args=(place.flag, os.getpid()))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)  # a child must not be told before it can listen
        try:
            place.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        log.info("process_started", started_pid=place.process.pid)

    def _begin(self, flag: mmap.mmap, parent: int) -> None:
        """What a child does."""
        for number in STOP:
            signal.signal(number, signal.SIG_DFL)
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)

        def ready() -> None:
            flag[0] = 1

        self._serve(ready=ready)

    def _end(self) -> None:
        """Stop them all, side by side."""
        self._before_end()
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + PATIENCE
        for process in running:
            process.join(max(0.0, until - time.monotonic()))
            if process.exitcode is None:
                log.error("process_killed", killed_pid=process.pid, after=PATIENCE)
                process.kill()
                process.join()


def _end_with(parent: int) -> None:
    """Be told to stop when the parent is gone, even if it was killed; where the kernel can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)

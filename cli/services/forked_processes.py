"""Forked processes of one program, which share the memory of what was loaded before the fork; kept running together."""

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

CANNOT_START = 3  # exit code of a process that could not start
CHECK_INTERVAL = 0.1  # seconds between two checks of the processes
FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0  # seconds before a process that ended is restarted, doubled each time
SETTLED = 60.0  # seconds after which the end of a process starts the waits anew
STOP_TIMEOUT = 35.0  # seconds between SIGTERM and SIGKILL
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1

Ready = Callable[[], None]


class Serve(Protocol):
    """The work of each process."""

    def __call__(self, *, ready: Ready) -> None:
        """Serve until SIGTERM; call `ready` once requests can be answered."""
        ...


@dataclass
class Place:
    """One of the processes that should run, and the process that runs now."""

    process: ForkProcess | None = None
    began: float = 0.0
    wait: float = FIRST_WAIT
    due: float = 0.0
    flag: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 1))  # shared with the process: 1 once it was ready

    @property
    def was_ready(self) -> bool:
        """Whether the process, or one before it in this place, was ever ready."""
        return self.flag[0] == 1


class ForkedProcesses:
    """`count` processes that run `serve`, forked from this one, which must have no threads and no event loop.

    `before_end` releases what this process holds for them: a socket that must be closed when they close it.
    """

    def __init__(self, count: int, serve: Serve, *, before_end: Callable[[], None]) -> None:
        self._serve = serve
        self._before_end = before_end
        self._places = [Place() for _ in range(count)]
        self._stopping = False

    def run(self) -> int:
        """Keep the processes running until SIGTERM or SIGINT, then stop them; the exit code.

        A process that ends is started again, later each time. When none was ever ready and one cannot start, all stop.
        """
        gc.collect()
        gc.freeze()  # so that garbage collection in a child does not write to the pages it shares
        before = {number: signal.signal(number, self._stop) for number in STOP_SIGNALS}
        code = 0
        try:
            while not self._stopping and not code:
                code = self._check()
                time.sleep(CHECK_INTERVAL)
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
        return code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _check(self) -> int:
        """Note the processes that ended and start those that are due; an exit code when none can ever start."""
        now = time.monotonic()
        for place in self._places:
            process = place.process
            if process is not None and process.exitcode is not None:
                if process.exitcode == CANNOT_START and not any(each.was_ready for each in self._places):
                    return CANNOT_START
                self._note_end(place, process, now)
            if place.process is None and now >= place.due:
                self._start(place)
        return 0

    def _note_end(self, place: Place, process: ForkProcess, now: float) -> None:
        if now - place.began >= SETTLED:
            place.wait = FIRST_WAIT
        log.error("process_ended", ended_pid=process.pid, exit_code=process.exitcode, again_in=place.wait)
        place.due, place.wait, place.process = now + place.wait, min(2 * place.wait, LONGEST_WAIT), None

    def _start(self, place: Place) -> None:
        place.began = time.monotonic()
        place.process = get_context("fork").Process(target=self._run_child, args=(place.flag, os.getpid()))
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, STOP_SIGNALS
        )  # a child must not get a signal before it has a handler
        try:
            place.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        log.info("process_started", started_pid=place.process.pid)

    def _run_child(self, flag: mmap.mmap, parent: int) -> None:
        """Serve in the child, until SIGTERM or the end of the parent."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _stop_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

        def ready() -> None:
            flag[0] = 1

        self._serve(ready=ready)

    def _end(self) -> None:
        """Stop them all, side by side."""
        self._before_end()
        running = [place.process for place in self._places if place.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + STOP_TIMEOUT
        for process in running:
            process.join(max(0.0, until - time.monotonic()))
            if process.exitcode is None:
                log.error("process_killed", killed_pid=process.pid, after=STOP_TIMEOUT)
                process.kill()
                process.join()


def _stop_with(parent: int) -> None:
    """Get SIGTERM when the parent ends, even if it is killed; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)

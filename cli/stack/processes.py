"""Child processes that cannot outlive us: sessions of their own, closed descriptors, the kernel's death signal."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from cli.stack.errors import StackError

PR_SET_PDEATHSIG = 1
NOBODY = 65534
ASK_AGAIN = 1.0  # seconds
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the words, the file its output goes to, and how it is asked to stop.

    `shown`: to our own output. `forgetful`: it may miss a signal while it starts, so it is asked again and again.
    """

    words: Sequence[str | Path]
    log: Path
    shown: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    as_nobody: bool = False
    niceness: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    forgetful: bool = False

    @property
    def name(self) -> str:
        """The log's name: what people call this process."""
        return self.log.stem


class Process:
    """One running child and the session it leads."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._said_before = _size(command.log)  # by those who ran it before
        self._child = _popen(command)

    @property
    def pid(self) -> int:
        """The child's process id, which is its session's too."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        return self._child.wait()

    def stop(self, patience: float) -> None:
        """Ask it to stop, kill it after `patience` seconds; whatever is left of its session is killed too."""
        deadline = time.monotonic() + patience
        while self.exit_code is None and (left := deadline - time.monotonic()) > 0:
            self._child.send_signal(self.command.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(min(left, ASK_AGAIN) if self.command.forgetful else left)
        self.kill()

    def kill(self) -> None:
        """End it and its session at once, as a crash would: nothing is finished, nothing put away."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def begin_again(self) -> None:
        """Run the same command once more, after its end."""
        self._child = _popen(self.command)

    def last_words(self, lines: int = 15) -> str:
        """The end of its log."""
        return tail(self.command.log, lines, self._said_before)


class Processes:
    """The children of one supervisor. Start them from a thread that lives on: the death signal is per thread."""

    def __init__(self) -> None:
        self._running: list[Process] = []
        self._lock = threading.Lock()
        self._closed = False

    def start(self, command: Command) -> Process:
        """Start a child that runs until it is stopped."""
        with self._lock:
            if self._closed:
                raise StackError("The stack is being stopped.")
            process = Process(command)
            self._running.append(process)
        return process

    def run(self, command: Command) -> None:
        """Run a child to its end.

        Raises:
            StackError: it failed; the message ends with its last words.
        """
        process = self.start(command)
        code = process.wait()
        self.forget(process)
        if code:
            words = "" if command.shown else f":\n{process.last_words()}"
            raise StackError(f"{command.name} failed with exit code {code}{words}")

    def forget(self, process: Process) -> None:
        """Stop minding a child that ended."""
        with self._lock:
            if process in self._running:
                self._running.remove(process)

    def named(self, name: str) -> Process:
        """The child of that name.

        Raises:
            StackError: there is none.
        """
        with self._lock:
            for process in self._running:
                if process.command.name == name:
                    return process
        raise StackError(f"No {name} was started here.")

    def ended(self) -> Process | None:
        """A child that ended although nobody asked it to."""
        with self._lock:
            return next((process for process in self._running if process.exit_code is not None), None)

    def stop(self, patience: float = 15.0) -> None:
        """Stop every child, each before those it was started after, and let nothing start any more."""
        with self._lock:
            self._closed = True
            running, self._running = self._running[::-1], []
        for process in running:
            process.stop(patience)

    def stop_some(self, some: Sequence[Process], patience: float = 15.0) -> None:
        """Stop these children only."""
        for process in some:
            self.forget(process)
            process.stop(patience)


def is_starting(frame: FrameType | None) -> bool:
    """Whether a child is just being started, as seen from where a signal came."""
    while frame is not None and frame.f_code is not Processes.start.__code__:
        frame = frame.f_back
    return frame is not None


def tail(log: Path, lines: int = 15, after: int = 0) -> str:
    """The last lines of a log file behind its first `after` bytes, or a word that there are none."""
    try:
        said = log.read_bytes()[after:].decode(errors="replace")
    except FileNotFoundError:
        said = ""
    return "\n".join(said.splitlines()[-lines:]) or "(it wrote nothing)"


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def wait_until(ready: Callable[[], bool], processes: Sequence[Process], seconds: float) -> None:
    """Poll until `ready()`.

    Raises:
        StackError: one of the processes ended, or the time was up.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        for process in processes:
            if process.exit_code is not None:
                raise StackError(f"{process.command.name} ended with {process.exit_code}:\n{process.last_words()}")
        if time.monotonic() > deadline:
            raise StackError(f"{processes[0].command.name} was not ready after {seconds:.0f} s")
        time.sleep(0.03)


def _popen(command: Command) -> subprocess.Popen[bytes]:
    owner = NOBODY if command.as_nobody else None
    with command.log.open("ab") as log:
        return subprocess.Popen(
            [str(word) for word in command.words],
            stdin=subprocess.DEVNULL,
            stdout=None if command.shown else log,
            stderr=None if command.shown else subprocess.STDOUT,
            close_fds=True,
            start_new_session=True,
            cwd=command.folder,
            env=dict(command.environment) or None,
            user=owner,
            group=owner,
            extra_groups=None if owner is None else [],
            preexec_fn=_tie(command, os.getpid()),
        )


def _tie(command: Command, parent: int) -> Callable[[], None]:
    """What the child does before it becomes the program: ask to be told of our death, be nice."""

    def tie() -> None:
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, command.stop_signal)
            if os.getppid() != parent:
                os._exit(1)
        if command.niceness:
            os.nice(command.niceness)

    return tie

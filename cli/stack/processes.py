"""Child processes that end with us: in sessions of their own, with closed descriptors and the kernel's death signal."""

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
NOBODY = 65534  # the unprivileged user
SIGNAL_INTERVAL = 1.0  # seconds
CHECK_INTERVAL = 0.03  # seconds
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run: its words, the file for its output, and the signal that stops it.

    `shown`: its output goes to ours. `misses_signals`: it may miss a signal while it starts, so the stop signal is
    sent again and again. `to_session`: its children get the stop signal too, as by Ctrl-C in a terminal.
    `unprivileged`: it runs as the user NOBODY.
    """

    words: Sequence[str | Path]
    log: Path
    shown: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    unprivileged: bool = False
    niceness: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    misses_signals: bool = False
    to_session: bool = False

    @property
    def name(self) -> str:
        """The name of the log, which names the process in messages."""
        return self.log.stem


class Process:
    """One running child and the session it leads."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._log_before = _size(command.log)  # bytes of earlier runs
        self._child = _popen(command)

    @property
    def pid(self) -> int:
        """The process id of the child, and of its session."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        return self._child.wait()

    def stop(self, timeout: float) -> None:
        """Send the stop signal, kill after `timeout` seconds; the rest of its session is killed too."""
        deadline = time.monotonic() + timeout
        while self.exit_code is None and (left := deadline - time.monotonic()) > 0:
            self._send_stop_signal()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(min(left, SIGNAL_INTERVAL) if self.command.misses_signals else left)
        self.kill()

    def _send_stop_signal(self) -> None:
        if self.command.to_session:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, self.command.stop_signal)
        else:
            self._child.send_signal(self.command.stop_signal)

    def kill(self) -> None:
        """Kill the child and its session at once, as a crash would: it finishes nothing."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def restart(self) -> None:
        """Run the same command again, after its end."""
        self._child = _popen(self.command)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log since it was started."""
        return tail(self.command.log, lines, self._log_before)


class Processes:
    """The children of one supervisor. Start them from a thread that does not end: the death signal is per thread."""

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
            StackError: it failed; the message ends with the last lines of its log.
        """
        process = self.start(command)
        code = process.wait()
        self.forget(process)
        if code:
            words = "" if command.shown else f":\n{process.log_tail()}"
            raise StackError(f"{command.name} failed with exit code {code}{words}")

    def forget(self, process: Process) -> None:
        """Take a child that ended off the list."""
        with self._lock:
            if process in self._running:
                self._running.remove(process)

    def named(self, name: str) -> Process:
        """The child of that name.

        Raises:
            StackError: no child has that name.
        """
        with self._lock:
            for process in self._running:
                if process.command.name == name:
                    return process
        raise StackError(f"No {name} was started here.")

    def ended(self) -> Process | None:
        """A child that ended by itself."""
        with self._lock:
            return next((process for process in self._running if process.exit_code is not None), None)

    def stop(self, timeout: float = 15.0) -> None:
        """Stop every child, the last started first; no child can be started afterwards."""
        with self._lock:
            self._closed = True
            running, self._running = self._running[::-1], []
        for process in running:
            process.stop(timeout)

    def stop_some(self, some: Sequence[Process], timeout: float = 15.0) -> None:
        """Stop these children only."""
        for process in some:
            self.forget(process)
            process.stop(timeout)


def is_starting(frame: FrameType | None) -> bool:
    """Whether the frame that a signal interrupted is starting a child."""
    while frame is not None and frame.f_code is not Processes.start.__code__:
        frame = frame.f_back
    return frame is not None


def tail(log: Path, lines: int = 15, after: int = 0) -> str:
    """The last lines of a log file behind its first `after` bytes, or a note that there are none."""
    try:
        text = log.read_bytes()[after:].decode(errors="replace")
    except FileNotFoundError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def wait_until(ready: Callable[[], bool], processes: Sequence[Process], seconds: float) -> None:
    """Poll until `ready()`.

    Raises:
        StackError: one of the processes ended, or `seconds` are over.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        for process in processes:
            if process.exit_code is not None:
                raise StackError(f"{process.command.name} ended with {process.exit_code}:\n{process.log_tail()}")
        if time.monotonic() > deadline:
            first = processes[0]
            raise StackError(
                f"{first.command.name} was not ready after {seconds:.0f} s. Start again: a busy machine is slow."
                f" Its log {first.command.log} ends with:\n{first.log_tail()}"
            )
        time.sleep(CHECK_INTERVAL)


def _popen(command: Command) -> subprocess.Popen[bytes]:
    owner = NOBODY if command.unprivileged else None
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
            preexec_fn=_tied_to_us(command, os.getpid()),
        )


def _tied_to_us(command: Command, parent: int) -> Callable[[], None]:
    """The child's steps before it becomes the program: get a signal when we end, lower its priority."""

    def tie() -> None:
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, command.stop_signal)
            if os.getppid() != parent:
                os._exit(1)
        if command.niceness:
            os.nice(command.niceness)

    return tie

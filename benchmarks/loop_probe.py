"""`python -m benchmarks.loop_probe FILE gateway ...`: a `penchant` command whose event loop is measured.

A stretch is what the loop does between two polls of its sockets: while it lasts, nobody else is answered. It is
measured as CPU of the loop's thread, so other programs on the machine do not lengthen it, and neither do other threads
of the process.

uvloop has no hook around one iteration, so a timer of one millisecond runs on the loop, and the thread's CPU clock is
read at each tick. A tick is due in the first iteration that begins a millisecond after the one before, so two ticks are
never inside one iteration. The CPU between two ticks is therefore at least that of each iteration between them, and at
most two milliseconds more (iterations shorter than a tick that came before it). Time that a thread spends in another
process, in a sleep or waiting for Python's lock is not CPU of the loop; while another thread keeps the lock, light
queries wait but no stretch is seen.

A second thread looks every few milliseconds what the loop does in a stretch that lasts: the stack that it saw most
often in the longest one is kept beside FILE. It can look only when Python code runs, not inside a long call of C.
"""

import asyncio
import gc
import mmap
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TICK = 0.001  # seconds
WATCH = 0.01  # seconds between two looks at the loop
SHOWN = 0.03  # seconds of CPU from which on a stretch's stack is kept
STACK = 10  # innermost frames
_SECONDS = struct.Struct("d")


class LongestStretch:
    """The longest stretch since the last reset, in a file that the measured process and the benchmark both map."""

    def __init__(self, file: Path) -> None:
        file.touch()
        with file.open("r+b") as opened:
            opened.truncate(_SECONDS.size)
            self._shared = mmap.mmap(opened.fileno(), _SECONDS.size)
        self._stack = file.with_suffix(".stack")

    @property
    def seconds(self) -> float:
        """CPU seconds."""
        return float(_SECONDS.unpack_from(self._shared)[0])

    @property
    def stack(self) -> list[str]:
        """The functions that ran in it, outermost first, each once; empty for a short one."""
        return self._stack.read_text().splitlines() if self._stack.exists() else []

    def reset(self) -> None:
        """Measure from now on."""
        self._stack.unlink(missing_ok=True)
        _SECONDS.pack_into(self._shared, 0, 0.0)

    def record(self, seconds: float, stack: str) -> None:
        """Keep this stretch if it is the longest."""
        if seconds > self.seconds:
            _SECONDS.pack_into(self._shared, 0, seconds)
            self._stack.write_text(stack)


class LoopProbe:
    """Measures the event loop that runs in this thread, until the process ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, longest: LongestStretch) -> None:
        self._loop, self._longest = loop, longest
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._ticked_at = time.thread_time()
        self._seen: list[str] = []  # stacks, one for each look
        self._collecting_since = 0.0

    def start(self) -> None:
        """Tick and watch from now on."""
        threading.Thread(target=self._watch, daemon=True).start()
        gc.callbacks.append(self._note_collection)
        self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        now = time.thread_time()
        seen, self._seen = self._seen, []
        self._longest.record(now - self._ticked_at, "".join(stack for stack, _ in Counter(seen).most_common(1)))
        self._ticked_at = time.thread_time()
        self._loop.call_later(TICK, self._tick)

    def _note_collection(self, phase: str, found: Mapping[str, int]) -> None:
        """A collection runs inside any other call: it counts as all looks that fall into it."""
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._collecting_since = time.thread_time()
        elif (seconds := time.thread_time() - self._collecting_since) > WATCH:
            self._seen += [f"garbage collection of generation {found['generation']}"] * round(seconds / WATCH)

    def _watch(self) -> None:
        while True:
            time.sleep(WATCH)
            if time.clock_gettime(self._clock) - self._ticked_at > SHOWN:
                calls = traceback.extract_stack(sys._current_frames().get(self._thread))
                names = dict.fromkeys(f"{call.filename} {call.name}" for call in calls)
                self._seen.append("\n".join([*names][-STACK:]))


def _measure_servers(file: Path) -> None:
    """Make every server of uvicorn measure its loop."""
    import uvicorn

    serve = uvicorn.Server.serve

    async def measured(self: uvicorn.Server, *arguments: Any, **named: Any) -> None:
        LoopProbe(asyncio.get_running_loop(), LongestStretch(file)).start()
        await serve(self, *arguments, **named)

    uvicorn.Server.serve = measured  # type: ignore[method-assign]


def main() -> None:
    """Run the command in `sys.argv`."""
    from cli.main import app

    file, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]
    _measure_servers(file)
    app()


if __name__ == "__main__":
    main()

"""The probe of the event loop sees what the loop itself does, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT

PROGRAM = """
import asyncio, sys, threading, time
from pathlib import Path
import uvloop
from benchmarks.loop_probe import LongestStretch, LoopProbe

def burn(seconds):
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass

def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return asyncio.get_running_loop().run_in_executor(None, thread.join)

async def main():
    longest = LongestStretch(Path(sys.argv[1]))
    LoopProbe(asyncio.get_running_loop(), longest).start()
    await asyncio.sleep(0.01)
    longest.reset()
    {planted}
    await asyncio.sleep(0.01)
    print(longest.seconds, *longest.stack)

uvloop.run(main())
"""


def measured(tmp_path: Path, planted: str) -> tuple[float, str]:
    """The longest stretch in seconds, and what ran in it."""
    words = [sys.executable, "-c", PROGRAM.replace("{planted}", planted), str(tmp_path / "longest")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    seconds, _, stack = done.stdout.partition(" ")
    return float(seconds), stack


@pytest.mark.parametrize(
    "planted",
    ["burn(0.08)", "[asyncio.get_running_loop().call_soon(burn, 0.02) for _ in range(4)]"],
    ids=["one call", "calls of one iteration"],
)
def test_cpu_of_the_loop_is_a_stretch(tmp_path: Path, planted: str) -> None:
    seconds, stack = measured(tmp_path, planted)
    assert seconds >= 0.08
    assert "burn" in stack


@pytest.mark.parametrize(
    "planted",
    ["await in_a_thread(lambda: time.sleep(0.2))", "await in_a_thread(lambda: burn(0.2))", "time.sleep(0.2)",
     "[(burn(0.02), await asyncio.sleep(0.002)) for _ in range(4)]"],
    ids=["sleep of a thread", "CPU of a thread", "sleep of the loop", "CPU in slices"],
)  # fmt: skip
def test_nothing_else_is(tmp_path: Path, planted: str) -> None:
    assert measured(tmp_path, planted)[0] < 0.08

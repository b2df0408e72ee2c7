"""`penchant` for the tests: in this process, or in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from cli.main import app

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-c", "from cli.main import app; app()"]
"""`penchant` of this checkout, also where it is not installed."""
TIMEOUT = 240.0  # seconds


def invoke(*words: str | Path, stdin: str = "") -> Result:
    """Run a command in this process: exit code and output. It may not run inside an event loop."""
    return CliRunner().invoke(app, [*map(str, words)], input=stdin)


def run_penchant(*words: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, to its end."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT)} if environment is None else environment
    command = [*PROGRAM, *map(str, words)]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=TIMEOUT)

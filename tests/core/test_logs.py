"""Log lines are JSON objects with the ids of their own request and trace."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PRELUDE = """
import logging, structlog
from core import telemetry
from core.logs import configure_logs
configure_logs("INFO", json=True)
log = structlog.get_logger()
"""


def logged(program: str, **environment: str) -> list[dict[str, Any]]:
    """The log of a separate process: logs are configured for a whole process."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_has_the_bound_fields_and_the_next_one_does_not() -> None:
    inside, other, outside = logged("""
with structlog.contextvars.bound_contextvars(request_id="r1"):
    log.info("inside", items=3)
    logging.getLogger("somebody.else").warning("inside, too")
log.info("outside")
""")
    assert (inside["event"], inside["items"], inside["level"]) == ("inside", 3, "info")
    assert (inside["request_id"], other["request_id"]) == ("r1", "r1")
    assert "request_id" not in outside


def test_a_line_inside_a_trace_has_the_trace_id() -> None:
    trace = "ab" * 16
    program = f"""
telemetry.start("test")
with telemetry.entry("work", "SERVER", "00-{trace}-{"1" * 16}-00"):
    log.info("inside")
    logging.getLogger("somebody.else").warning("inside, too")
log.info("outside")
"""
    inside, other, outside = logged(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert (inside["trace_id"], other["trace_id"]) == (trace, trace)
    assert "trace_id" not in outside


def test_a_traceback_is_one_line() -> None:
    (line,) = logged("""
try:
    1 / 0
except ZeroDivisionError:
    log.exception("division")
""")
    assert "ZeroDivisionError" in line["exception"]

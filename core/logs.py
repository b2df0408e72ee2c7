"""Structured logs: a constant event plus fields. JSON for machines, plain lines on a terminal."""

import logging
import sys

import structlog

from core import telemetry


def configure_logs(level: str = "INFO", *, json: bool | None = None) -> None:
    """Send structlog and the standard library's loggers through one renderer to standard error.

    `json` defaults to whether standard error is not a terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # its line for each request has the URL, which may be secret


def _add_trace_id(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the id of the current trace."""
    if trace_id := telemetry.trace_id():
        fields["trace_id"] = trace_id
    return fields

"""Metrics and a trace span for each HTTP request: its operation, how long it took, its outcome."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any, Literal

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import metrics, telemetry

RequestOutcome = Literal["ok", "partial", "refused", "failed", "gone"]

_SERVER_FAULTS = {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"}
_METHODS = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}


@dataclass(slots=True)
class RequestSummary:
    """The operation and the outcome of one request.

    The middleware sets them from path and status; the GraphQL endpoint, which knows more, overrides them.
    """

    operation: str
    outcome: RequestOutcome = "gone"  # until the answer starts

    def set_status(self, status: int) -> None:
        """Set the outcome from the HTTP status, unless it is set already."""
        if self.outcome == "gone":
            self.outcome = "ok" if status < 400 else "refused" if status < 500 else "failed"

    def set_errors(self, answer: dict[str, Any]) -> None:
        """Set the outcome from a GraphQL answer with errors, whatever the HTTP status, and count the errors.

        "partial" when the answer has data, "failed" when an error is the server's fault, else "refused".
        """
        codes = [error["extensions"]["code"] for error in answer["errors"]]
        for code in codes:
            metrics.ERRORS.labels(code).inc()
        if any(value is not None for value in (answer.get("data") or {}).values()):
            self.outcome = "partial"
        else:
            self.outcome = "failed" if _SERVER_FAULTS.intersection(codes) else "refused"


class RequestMetrics:
    """Pure ASGI middleware, outside all others. Metrics name a path only when it is one of `paths`."""

    def __init__(self, app: ASGIApp, *, paths: Collection[str]) -> None:
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record its duration and outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        summary = RequestSummary(scope["path"] if scope["path"] in self._paths else "other")
        scope.setdefault("state", {})["request_summary"] = summary

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.start":
                summary.set_status(message["status"])
            await send(message)

        started = perf_counter()
        try:
            with _span(scope, summary.operation) as span:
                await self._app(scope, receive, send_and_record)
                if span is not None:
                    _set_attributes(span, scope, summary)
        except Exception:
            summary.outcome = "failed"
            raise
        finally:
            _histogram(summary.operation, summary.outcome).observe(perf_counter() - started)


@cache  # the operations are few: paths of ours, and root fields of the schema
def _histogram(operation: str, outcome: str) -> Histogram:
    return metrics.REQUESTS.labels(operation, outcome)


def summary_of(scope: Scope) -> RequestSummary:
    """The summary of this request. Without the middleware, a new one that nothing reads."""
    found: RequestSummary = scope["state"].get("request_summary") or RequestSummary("other")
    return found


def _span(scope: Scope, operation: str) -> AbstractContextManager[Any]:
    if not telemetry.tracing():
        return telemetry.span("")
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    header = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    return telemetry.entry(
        f"{method} {operation}",
        "SERVER",
        header.decode("latin-1"),
        http__request__method=method,
        url__path=scope["path"][:256],
    )


def _set_attributes(span: Any, scope: Scope, summary: RequestSummary) -> None:
    span.set_attribute("penchant.request_id", scope["state"].get("request_id", ""))
    span.set_attribute("penchant.operation", summary.operation)
    span.set_attribute("penchant.outcome", summary.outcome)

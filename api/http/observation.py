"""What is seen of a request from outside: what it asked for, how long it took, how it ended, its place in a trace."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import metrics, telemetry

Outcome = Literal["ok", "partial", "refused", "failed", "gone"]

_OURS = {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT"}
_METHODS = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}


@dataclass(slots=True)
class Observation:
    """One request. Whoever knows better than its path and its status says so here."""

    operation: str
    outcome: Outcome = "gone"  # until an answer begins

    def begin(self, status: int) -> None:
        """The answer begins, with this status."""
        if self.outcome == "gone":
            self.outcome = "ok" if status < 400 else "refused" if status < 500 else "failed"

    def judge(self, answer: dict[str, Any]) -> None:
        """How a GraphQL answer with errors ended, whatever the status: some data, the caller's fault, or ours."""
        codes = [error["extensions"]["code"] for error in answer["errors"]]
        for code in codes:
            metrics.ERRORS.labels(code).inc()
        if any(value is not None for value in (answer.get("data") or {}).values()):
            self.outcome = "partial"
        else:
            self.outcome = "failed" if _OURS.intersection(codes) else "refused"


class Observed:
    """Pure ASGI middleware around everything else; `paths` are those that metrics may name."""

    def __init__(self, app: ASGIApp, *, paths: Collection[str]) -> None:
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = Observation(scope["path"] if scope["path"] in self._paths else "other")
        scope.setdefault("state", {})["observation"] = seen

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.begin(message["status"])
            await send(message)

        started = perf_counter()
        try:
            with _span(scope, seen.operation) as span:
                await self._app(scope, receive, noting)
                if span is not None:
                    _describe(span, scope, seen)
        except Exception:
            seen.outcome = "failed"
            raise
        finally:
            metrics.REQUESTS.labels(seen.operation, seen.outcome).observe(perf_counter() - started)


def observation_of(scope: Scope) -> Observation:
    """The observation of this request; one that nobody reads when it is not observed."""
    found: Observation = scope["state"].get("observation") or Observation("other")
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


def _describe(span: Any, scope: Scope, seen: Observation) -> None:
    span.set_attribute("penchant.request_id", scope["state"].get("request_id", ""))
    span.set_attribute("penchant.operation", seen.operation)
    span.set_attribute("penchant.outcome", seen.outcome)

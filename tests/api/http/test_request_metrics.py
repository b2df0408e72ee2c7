"""Each request is counted by operation and outcome."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from api.http.request_metrics import RequestMetrics, RequestSummary, summary_of
from core import metrics


def answer(*codes: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"data": data, "errors": [{"message": "", "extensions": {"code": code}} for code in codes]}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (answer("NOT_FOUND"), "refused"),
        (answer("NOT_FOUND", data={"user": None}), "refused"),
        (answer("NOT_FOUND", data={"user": None, "item": {"id": "i1"}}), "partial"),
        (answer("NOT_FOUND", "TIMEOUT"), "failed"),
        (answer("INTERNAL_SERVER_ERROR", data={"user": None}), "failed"),
    ],
)
def test_the_errors_of_a_graphql_answer_decide_the_outcome(body: dict[str, Any], outcome: str) -> None:
    summary = RequestSummary("user")
    summary.set_errors(body)
    summary.set_status(200)
    assert summary.outcome == outcome


@pytest.mark.parametrize(("status", "outcome"), [(200, "ok"), (304, "ok"), (404, "refused"), (503, "failed")])
def test_without_errors_the_status_decides_the_outcome(status: int, outcome: str) -> None:
    summary = RequestSummary("user")
    summary.set_status(status)
    assert summary.outcome == outcome


async def request(app: Any, path: str = "/known") -> None:
    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        pass

    await RequestMetrics(app, paths=["/known"])({"type": "http", "path": path, "method": "GET"}, receive, send)


def count(operation: str, outcome: str) -> float:
    labels = {"operation": operation, "outcome": outcome}
    families = text_string_to_metric_families(metrics.exposition([]).decode())
    samples = [sample for family in families for sample in family.samples]
    return sum(s.value for s in samples if s.name == "penchant_request_seconds_count" and s.labels == labels)


async def test_a_request_that_raises_has_failed() -> None:
    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a bug")

    before = count("/known", "failed")
    with pytest.raises(RuntimeError):
        await request(raises)
    assert count("/known", "failed") == before + 1


async def test_a_request_without_an_answer_is_gone() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    before = count("/known", "gone")
    await request(silent)
    assert count("/known", "gone") == before + 1


async def test_the_endpoint_may_name_the_operation() -> None:
    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        summary_of(scope).operation = "user"
        await send({"type": "http.response.start", "status": 200})

    before = count("user", "ok")
    await request(named, "/other/path")
    assert count("user", "ok") == before + 1


async def test_other_protocols_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return {}

    await RequestMetrics(app, paths=[])({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]

"""Traces are made when a collector is named, cost almost nothing otherwise, and never delay the end of a process."""

import socket
import time

import pytest

from core import telemetry
from tests.collector import running_collector

TRACE = "ab" * 16


def test_without_a_collector_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in telemetry.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    telemetry.start("test")
    assert not telemetry.tracing()
    with telemetry.entry("work", "SERVER", f"00-{TRACE}-{'1' * 16}-01") as span:
        assert span is None
        assert telemetry.traceparent() is None


def test_the_last_spans_are_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        telemetry.start("test")
        with telemetry.entry("work", "SERVER", f"00-{TRACE}-{'1' * 16}-01"), telemetry.span("part", size=3):
            assert telemetry.trace_id() == TRACE
        telemetry.stop()
        assert not telemetry.tracing()
        part, work = collected.of(TRACE)["part"], collected.of(TRACE)["work"]
    assert (work.parent, part.parent) == ("1" * 16, work.id)
    assert (part.service, part.attributes) == ("penchant-test", {"size": 3})


def test_a_span_has_the_type_of_an_error_and_not_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as collected:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        telemetry.start("test")
        with pytest.raises(ValueError, match="secret"), telemetry.span("work"):
            raise ValueError("a secret of somebody's")
        telemetry.stop()
        (span,) = collected.spans
    assert span.attributes == {"error.type": "ValueError"}
    assert "secret" not in str(span)


def test_a_collector_that_hangs_delays_the_end_only_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{mute.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
        monkeypatch.setattr(telemetry, "FLUSH_TIMEOUT", 0.2)
        telemetry.start("test")
        with telemetry.span("work"):
            pass
        began = time.monotonic()
        telemetry.stop()
        assert time.monotonic() - began < 2

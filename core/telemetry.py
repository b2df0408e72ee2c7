"""Traces: our own spans, sent by OTLP over HTTP when the standard variables name a collector, else almost free.

Sampling, headers, timeouts and limits are OpenTelemetry's own `OTEL_*` variables. A position in a trace travels as the
text of W3C's `traceparent`. Spans hold ids and counts, never texts of people or of errors.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
Attribute = str | int | float | bool

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH_TIMEOUT: Final = 3.0  # seconds a collector has to take the last spans of a process
_NOTHING: Final = nullcontext(None)

_provider: "TracerProvider | None" = None


def start(part: str) -> None:
    """Trace this process as `penchant-<part>` from now on, if a collector is named. After a fork, not before."""
    global _provider
    if _provider is not None or not any(os.environ.get(name) for name in ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"penchant-{part}"}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _provider = provider


def stop() -> None:
    """Send the last spans and stop tracing; a collector that hangs delays this by `FLUSH_TIMEOUT` at most."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        flushing = Thread(target=provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(FLUSH_TIMEOUT)


def tracing() -> bool:
    """Whether spans are made."""
    return _provider is not None


def span(name: str, kind: Kind = "INTERNAL", **attributes: Attribute) -> AbstractContextManager["Span | None"]:
    """A child of the current span. None when nothing is traced."""
    return _NOTHING if _provider is None else _traced(_provider, name, kind, None, (), attributes)


def entry(
    name: str, kind: Kind, parent: str | None, links: Sequence[str] = (), **attributes: Attribute
) -> AbstractContextManager["Span | None"]:
    """A span where work enters the process: in the trace of `parent`, or in a new one without a valid `parent`.

    `links` are further origins, as of a batch. They and `parent` are texts of `traceparent`.
    """
    return _NOTHING if _provider is None else _traced(_provider, name, kind, _context_of(parent), links, attributes)


def traceparent() -> str | None:
    """The current position as a text of `traceparent`, for another process."""
    if _provider is None:
        return None
    from opentelemetry.trace import get_current_span

    place = get_current_span().get_span_context()
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}" if place.is_valid else None


def trace_id() -> str | None:
    """The current trace, as 32 hexadecimal digits."""
    place = traceparent()
    return place and place[3:35]


def _context_of(parent: str | None) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent} if parent else {}, Context())


@contextmanager
def _traced(
    provider: "TracerProvider",
    name: str,
    kind: Kind,
    context: "Context | None",
    links: Sequence[str],
    attributes: dict[str, Attribute],
) -> Iterator["Span"]:
    from opentelemetry.trace import Link, SpanKind, StatusCode, get_current_span

    with provider.get_tracer("penchant").start_as_current_span(
        name,
        context,
        SpanKind[kind],
        {key.replace("__", "."): value for key, value in attributes.items()},
        [Link(get_current_span(_context_of(link)).get_span_context()) for link in links],
        record_exception=False,  # its text may hold people's data
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except Exception as error:
            made.set_attribute("error.type", type(error).__qualname__)
            made.set_status(StatusCode.ERROR)
            raise

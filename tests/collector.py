"""A trace collector on a loopback port: it receives OTLP over HTTP and keeps every span."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class CollectedSpan:
    """A received span. Ids are hexadecimal; `parent` is empty for a root."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: list[str]  # ids of linked traces
    attributes: dict[str, Any]


@dataclass
class Collector:
    """The spans received so far at `url`."""

    url: str
    spans: list[CollectedSpan] = field(default_factory=list)

    def of(self, trace: str) -> dict[str, CollectedSpan]:
        """The spans of one trace, by name."""
        return {span.name: span for span in self.spans if span.trace == trace}


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector that runs inside the `with` block."""
    spans: list[CollectedSpan] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Collector(f"http://127.0.0.1:{server.server_port}", spans)
        finally:
            server.shutdown()
            thread.join()


def _spans(request: Any) -> Iterator[CollectedSpan]:
    for resource in request.resource_spans:
        service = next(each.value.string_value for each in resource.resource.attributes if each.key == "service.name")
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    [link.trace_id.hex() for link in span.links],
                    {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes},
                )

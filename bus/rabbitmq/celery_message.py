"""Converts between our envelope and a message of Celery's protocol, version 2."""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bus.envelope import ATTEMPTS, TASK, TRACEPARENT, DamagedEnvelope, Envelope, Kind

JSON: Final = "application/json"
ATTEMPTS_HEADER: Final = "penchant-attempts"  # how often the events in the message were tried before, in other messages
DELIVERIES_HEADER: Final = "x-delivery-count"  # of RabbitMQ: how often this message was delivered before
TIME_HEADERS: Final = ("eta", "expires")  # of Celery: do not run before, do not run after

_TASKS: Final = frozenset(Kind) - {Kind.AS_RECEIVED}
_NO_CALLBACKS: Final = b',{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


def headers_of(envelope: Envelope) -> dict[str, Any]:
    """The headers of the Celery message of an envelope."""
    id = str(envelope.id)
    headers = {
        "lang": "py", "task": task_of(envelope), "id": id, "root_id": id, "parent_id": None, "group": None,
        "retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "ignore_result": True,
        "argsrepr": "(..)", "kwargsrepr": "{}", "origin": "gateway",
    }  # fmt: skip
    if TRACEPARENT in envelope.headers:
        headers["traceparent"] = envelope.headers[TRACEPARENT]
    if ATTEMPTS in envelope.headers:
        headers[ATTEMPTS_HEADER] = envelope.headers[ATTEMPTS]
    return headers


def task_of(envelope: Envelope) -> str:
    """The name of the Celery task that takes this envelope: its kind."""
    return str(envelope.headers[TASK] if envelope.kind is Kind.AS_RECEIVED else envelope.kind)


def kind_of(task: object) -> Kind | None:
    """The kind of a Celery task; None for a task that no worker of this release has."""
    return Kind(task) if isinstance(task, str) and task in _TASKS else None


def body_of(envelope: Envelope) -> bytes:
    """The arguments of the Celery task: the envelope's body as one text, or nothing.

    A batch is one JSON text inside the JSON arguments: Celery's own reader would take `{"__type__": ..}` in
    an event's properties for an instruction, and drop a message whose instruction it does not know.
    """
    if envelope.kind is Kind.AS_RECEIVED:
        return envelope.body
    argument = orjson.dumps(envelope.body.decode()) if envelope.body else b""
    return b"[[" + argument + b"]" + _NO_CALLBACKS


def text_in(body: bytes) -> bytes:
    """The envelope's body, from the body of a Celery message. Raises DamagedEnvelope when there is none in it."""
    try:
        (text,), _, _ = json.loads(body)
        return text.encode()  # type: ignore[no-any-return]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedEnvelope("This is not a Celery message with one text as its argument.") from error


def attempts_of(headers: Mapping[str, Any]) -> int:
    """The number of this attempt, from 1. Attempts in earlier messages count too."""
    return 1 + _count(headers.get(ATTEMPTS_HEADER)) + deliveries_of(headers)


def deliveries_of(headers: Mapping[str, Any]) -> int:
    """How often RabbitMQ delivered the message before."""
    return _count(headers.get(DELIVERIES_HEADER))


def _count(header: object) -> int:
    return header if isinstance(header, int) and header > 0 else 0

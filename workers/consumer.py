"""Celery's consumer, with our topology in place of the 28 queues it would declare for delayed messages.

A message that it cannot read is dead-lettered. Celery itself would acknowledge some of these messages, log the bodies
of most, and end the worker on some.
"""

# mypy: allow-untyped-calls
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

import structlog
from celery import bootsteps
from celery.utils.log import get_logger
from celery.worker import consumer, state
from kombu.exceptions import ContentDisallowed, DecodeError

from bus.envelope import Kind
from bus.rabbitmq import topology
from bus.rabbitmq.celery_message import TIME_HEADERS

log = structlog.get_logger()

RECONNECT_PAUSE: Final = 2.0  # seconds between attempts to connect
COUNT_TIMEOUT: Final = 5.0  # seconds the broker may take to count the dead letters
EXPIRES: Final = 60.0  # seconds; the next check sends the message again
_UNEXPECTED: Final = (AttributeError, LookupError, TypeError, ValueError)  # of headers and bodies of another shape


class DeclareTopology(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Declares our exchanges and queues whenever a connection was opened."""

    requires = (consumer.Connection,)

    def start(self, parent: Any) -> None:
        """Declare it."""
        topology.declare_on(parent.connection)


class RepeatedStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """A step that is repeated while the connection is open."""

    requires = (consumer.Tasks,)
    period: ClassVar[float]  # seconds

    def __init__(self, parent: Any, **options: Any) -> None:
        self._timer: Any = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Start the timer."""
        self._timer = parent.timer.call_repeatedly(self.period, self.repeat, (parent,))

    def stop(self, parent: Any) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    shutdown = stop

    def repeat(self, parent: Any) -> None:
        """Do it once."""
        raise NotImplementedError


class ReplaceProcesses(RepeatedStep):
    """Replaces a worker process that ended: Celery may check too early, and then not for 5 seconds."""

    period = 0.1

    def repeat(self, parent: Any) -> None:
        """Replace the processes that ended."""
        parent.pool.maintain_pool()


class MoveDeadLetters(RepeatedStep):
    """Sends the task that moves dead letters, in the workers that have it, while dead letters wait."""

    period = 2.0

    def include_if(self, parent: Any) -> bool:
        """Whether this worker has the task."""
        return Kind.MOVE_DEAD_LETTERS in parent.app.tasks

    def repeat(self, parent: Any) -> None:
        """Send the task when dead letters wait, unless this worker already has it."""
        if any(request.name == Kind.MOVE_DEAD_LETTERS for request in state.reserved_requests):
            return
        with parent.connection.connection.transport.having_timeout(COUNT_TIMEOUT):  # then the connection is lost
            with parent.connection.channel() as channel:
                waiting = channel.queue_declare(topology.DEAD_LETTERS.name, passive=True).message_count
            if waiting:
                _send_task(parent)


def has_eta_or_expiry(message: Any) -> bool:
    """Whether Celery would hold the message unacknowledged until its eta, or drop events after their expiry.

    A batch that a worker sends again has no eta. In older protocols these fields are in the body, not in the headers.
    """
    parts = [part for part in (message.headers, message.payload) if isinstance(part, dict)]
    has_events = any(part.get("task") == Kind.STORE_EVENTS for part in parts)
    names = TIME_HEADERS if has_events else ("eta",)
    return any(part.get(name) is not None for part in parts for name in names)


def _send_task(parent: Any) -> None:
    parent.app.send_task(
        Kind.MOVE_DEAD_LETTERS,
        exchange=topology.PERIODIC.exchange.name,
        routing_key=topology.PERIODIC.routing_key,
        expires=EXPIRES,
        ignore_result=True,
        connection=parent.connection,
    )


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Consumes our queues, in which the broker delays no message."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """The stock steps without the one for delayed messages, and three of ours."""

        default_steps = (
            DeclareTopology,
            *(step for step in consumer.Consumer.Blueprint.default_steps if "delayed_delivery" not in step),
            ReplaceProcesses,
            MoveDeadLetters,
        )

    def ensure_connected(self, conn: Any) -> Any:
        """Try again at a steady pace: Celery's own pauses would grow to half a minute."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RECONNECT_PAUSE, interval_step=0, interval_max=RECONNECT_PAUSE
        )
        return super().ensure_connected(conn)

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], None]:
        """The stock handler. A message of an unexpected shape is dead-lettered; it does not end the worker."""
        receive = super().create_task_handler(*arguments, **named)

        def on_task_received(message: Any) -> None:
            try:
                if has_eta_or_expiry(message):
                    self._dead_letter(message, "eta or expiry")
                else:
                    receive(message)
            except _UNEXPECTED as error:
                self._dead_letter(message, "unexpected shape", error)
            except (ContentDisallowed, DecodeError) as error:
                self.on_decode_error(message, error)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body does not match its content type, or the content type is not JSON."""
        self._dead_letter(message, "cannot be decoded", exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """The message names no task."""
        self._dead_letter(message, "no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """The message names a task that is not ours."""
        self._dead_letter(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """The message does not follow Celery's protocol."""
        self._dead_letter(message, "invalid message", exc)

    def _dead_letter(self, message: Any, reason: str, error: Exception | None = None) -> None:
        """Reject it, and log why: but not the message, nor the text of the error, which may repeat it."""
        log.error("message_refused", reason=reason, error=type(error).__name__ if error else None)
        if not message.acknowledged:
            message.reject_log_error(get_logger(__name__), self.connection_errors)

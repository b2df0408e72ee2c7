"""Celery's consumer, with our topology in place of the 28 queues it would declare for delayed messages.

What it cannot make sense of becomes a dead letter: Celery would acknowledge some of it, write the body of most of it
into the log, and end at some of it.
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

from bus import topology

log = structlog.get_logger()

REST: Final = 2.0  # seconds between attempts to connect
PATIENCE: Final = 5.0  # seconds the broker may take to say how many letters wait
EXPIRES: Final = 60.0  # seconds; who looks again sends it again
_ODD: Final = (AttributeError, LookupError, TypeError, ValueError)  # of headers and bodies of another shape


class Topology(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Whenever a connection was opened, what must stand in the broker is made to stand."""

    requires = (consumer.Connection,)

    def start(self, parent: Any) -> None:
        """Declare it."""
        topology.declare_on(parent.connection)


class Repeated(bootsteps.StartStopStep):  # type: ignore[misc]
    """Something done every few seconds while the connection stands."""

    requires = (consumer.Tasks,)
    every: ClassVar[float]  # seconds

    def __init__(self, parent: Any, **options: Any) -> None:
        self._timer: Any = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Begin."""
        self._timer = parent.timer.call_repeatedly(self.every, self.repeat, (parent,))

    def stop(self, parent: Any) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    shutdown = stop

    def repeat(self, parent: Any) -> None:
        """What is done."""
        raise NotImplementedError


class Replacements(Repeated):
    """A process that died is replaced soon: Celery may look too early and then again only after 5 seconds."""

    every = 0.1

    def repeat(self, parent: Any) -> None:
        """Replace who died."""
        parent.pool.maintain_pool()


class Letters(Repeated):
    """Has dead letters moved to where people find them, in the workers that can."""

    every = 2.0

    def include_if(self, parent: Any) -> bool:
        """Whether this worker has the task."""
        return topology.BURY_LETTERS in parent.app.tasks

    def repeat(self, parent: Any) -> None:
        """Have the pool move the letters that wait, unless it has been told already."""
        if any(request.name == topology.BURY_LETTERS for request in state.reserved_requests):
            return
        with parent.connection.connection.transport.having_timeout(PATIENCE):  # else the connection is taken for lost
            with parent.connection.channel() as channel:
                waiting = channel.queue_declare(topology.DEAD_LETTERS.name, passive=True).message_count
            if waiting:
                _send(parent)


def _has_its_time(message: Any) -> bool:
    """Whether Celery would hold it, unacknowledged, while few others are delivered, or drop events that are late.

    What it sends again for us at once has no time; in older protocols the body holds what the headers hold now.
    """
    told = [part for part in (message.headers, message.payload) if isinstance(part, dict)]
    is_events = any(part.get("task") == topology.STORE_EVENTS for part in told)
    times = topology.TIMES if is_events else ("eta",)
    return any(part.get(name) is not None for part in told for name in times)


def _send(parent: Any) -> None:
    parent.app.send_task(
        topology.BURY_LETTERS,
        exchange=topology.CHORES.exchange.name,
        routing_key=topology.CHORES.routing_key,
        expires=EXPIRES,
        ignore_result=True,
        connection=parent.connection,
    )


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Consumes our queues; no message here is delayed by the broker."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """The stock steps, one of them exchanged, and two more."""

        default_steps = (
            Topology,
            *(step for step in consumer.Consumer.Blueprint.default_steps if "delayed_delivery" not in step),
            Replacements,
            Letters,
        )

    def ensure_connected(self, conn: Any) -> Any:
        """Try again at a steady pace: Celery's own waits grow to half a minute, during which the broker may be back."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=REST, interval_step=0, interval_max=REST
        )
        return super().ensure_connected(conn)

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], None]:
        """The stock handler; a message of a shape it does not foresee ends that message, not the worker."""
        receive = super().create_task_handler(*arguments, **named)

        def on_task_received(message: Any) -> None:
            try:
                if _has_its_time(message):
                    self._refuse(message, "not now or not for ever")
                else:
                    receive(message)
            except _ODD as error:
                self._refuse(message, "a shape nobody foresaw", error)
            except (ContentDisallowed, DecodeError) as error:
                self.on_decode_error(message, error)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body is not what its content type says, or of a type we do not take."""
        self._refuse(message, "cannot be decoded", exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """It says nothing of a task."""
        self._refuse(message, "no task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Its task is none of ours."""
        self._refuse(message, "unknown task")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """It is not a message of Celery's protocol."""
        self._refuse(message, "invalid message", exc)

    def _refuse(self, message: Any, why: str, error: Exception | None = None) -> None:
        """Into the dead letters; what is in the message, and in the errors about it, is not for the log."""
        log.error("message_refused", why=why, error=type(error).__name__ if error else None)
        if not message.acknowledged:
            message.reject_log_error(get_logger(__name__), self.connection_errors)

"""Celery's consumer, with our topology in place of the 28 queues it would declare for delayed messages."""

from functools import partial
from typing import Any, Final

from celery import bootsteps
from celery.worker import consumer

from workers import topology

REST: Final = 2.0  # seconds between attempts to connect


class Topology(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """Whenever a connection was opened, what must stand in the broker is made to stand."""

    requires = (consumer.Connection,)

    def start(self, parent: Any) -> None:
        """Declare it."""
        topology.declare_on(parent.connection)


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Consumes our queues; no message here is delayed by the broker."""

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        """The stock steps, one of them exchanged."""

        default_steps = (
            Topology,
            *(step for step in consumer.Consumer.Blueprint.default_steps if "delayed_delivery" not in step),
        )

    def ensure_connected(self, conn: Any) -> Any:
        """Try again at a steady pace: Celery's own waits grow to half a minute, during which the broker may be back."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=REST, interval_step=0, interval_max=REST
        )
        return super().ensure_connected(conn)

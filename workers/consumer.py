"""Celery's consumer, with our topology in place of the 28 queues it would declare for delayed messages."""

from typing import Any

from celery import bootsteps
from celery.worker import consumer

from workers import topology


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

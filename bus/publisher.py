"""The interface to any broker: send an envelope, read the state of the queues."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from bus.envelope import Envelope


class QueueName(StrEnum):
    """Our queues."""

    EVENTS = "penchant.events"
    TRAINING = "penchant.training"
    LAKE = "penchant.lake"
    PERIODIC = "penchant.chores"  # for periodic work and for moving dead letters
    PURGES = "penchant.purges"
    DEAD_LETTERS = "penchant.dead"


class QueueState(NamedTuple):
    """How many messages wait in a queue, and how many consumers it has."""

    name: str
    messages: int
    consumers: int


class Publisher(Protocol):
    """Sends envelopes. Each adapter has one; its connection is opened when it is first needed."""

    async def publish(self, envelope: Envelope) -> None:
        """Return when the broker has the message on its disk.

        Raises StoreUnavailable when the message was not confirmed in time. The broker may have it all the same, so
        the same envelope is sent again.
        """

    def body_of(self, envelope: Envelope) -> bytes:
        """The body of the broker's message, which the outbox keeps beside the envelope for the release before."""

    async def queues(self) -> list[QueueState]:
        """The state of each of our queues. Raises StoreUnavailable when the broker does not answer in time."""

    async def close(self) -> None:
        """Close the connection, if one is open."""

"""Exchanges, queues and their arguments in RabbitMQ, declared here and nowhere else."""

# mypy: allow-untyped-calls
from typing import Final

from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from bus.publisher import QueueName
from bus.rabbitmq.errors import unavailable

# RabbitMQ 4 would drop a dead letter that was delivered 20 times: these are kept until they are moved to Postgres.
DEAD: Final = Exchange("penchant.dead", type="topic", durable=True)
DEAD_LETTERS: Final = Queue(
    QueueName.DEAD_LETTERS,
    DEAD,
    routing_key="#",
    queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000},
)

DELIVERY_LIMIT: Final = 5  # times a message may be delivered again
EXCHANGE: Final = Exchange("penchant", type="topic", durable=True)
EVENTS: Final = Queue(
    QueueName.EVENTS,
    EXCHANGE,
    routing_key="events",
    queue_arguments={
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD.name,
        "x-dead-letter-strategy": "at-least-once",  # a crash of the broker on the way loses nothing
        "x-overflow": "reject-publish",  # at-least-once needs it
    },
)

# A message here only says that a row of `training_jobs` waits. It is acknowledged when it is delivered, so that the
# broker's consumer timeout does not limit a training; one that is lost is sent again.
TRAINING: Final = Queue(
    QueueName.TRAINING,
    EXCHANGE,
    routing_key="training",
    no_ack=True,
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 100},
)

# As for trainings: a message only says that a row of `lake_exports` is not finished.
LAKE: Final = Queue(
    QueueName.LAKE,
    EXCHANGE,
    routing_key="lake",
    no_ack=True,
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 1},
)

# Periodic work, sent every few seconds: while none is consumed, the newest message is enough.
PERIODIC: Final = Queue(
    QueueName.PERIODIC,
    EXCHANGE,
    routing_key="chores",
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 1},
)

# As for periodic work, every second: a queue of its own, so that neither message drops the other.
PURGES: Final = Queue(
    QueueName.PURGES,
    EXCHANGE,
    routing_key="purges",
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 1},
)

QUEUES: Final = (DEAD_LETTERS, EVENTS, TRAINING, LAKE, PERIODIC, PURGES)


def declare(url: str, timeout: float = 5.0) -> None:
    """Declare every exchange and queue, the one for dead letters first. Declaring twice changes nothing. Blocks.

    Raises StoreUnavailable when the broker cannot be reached, or has one of them with other arguments.
    """
    timeouts = {"read_timeout": timeout, "write_timeout": timeout}
    with Connection(url, connect_timeout=timeout, transport_options=timeouts) as connection:
        try:
            connection.connect()
            declare_on(connection)
        except (*connection.connection_errors, *connection.channel_errors) as error:
            raise unavailable("The broker did not take the queues", error) from error


def declare_on(connection: Connection) -> None:
    """As `declare`, on an open connection."""
    with connection.channel() as channel:
        for queue in QUEUES:
            queue(channel).declare()

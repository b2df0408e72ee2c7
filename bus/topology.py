"""What stands in the broker: exchanges, queues and their arguments, declared here and nowhere else."""

# mypy: allow-untyped-calls
from typing import Final

from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from core.errors import StoreUnavailable

STORE_EVENTS: Final = "penchant.store_events"
TRAIN: Final = "penchant.train"
LOOK_AROUND: Final = "penchant.look_around"
EXPORT_EVENTS: Final = "penchant.export_events"
BURY_LETTERS: Final = "penchant.bury_letters"
TASKS: Final = frozenset({STORE_EVENTS, TRAIN, LOOK_AROUND, EXPORT_EVENTS, BURY_LETTERS})

ATTEMPTS: Final = "penchant-attempts"  # header: how often what is in the message was tried before, in another message
TIMES: Final = ("eta", "expires")  # headers of Celery: not before, not after
DELIVERIES: Final = "x-delivery-count"  # header of RabbitMQ: how often the message was delivered before

# Dead letters are kept until somebody decides: RabbitMQ 4 would drop a message that was looked at 20 times.
DEAD: Final = Exchange("penchant.dead", type="topic", durable=True)
DEAD_LETTERS: Final = Queue(
    "penchant.dead",
    DEAD,
    routing_key="#",
    queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000},
)

DELIVERY_LIMIT: Final = 5  # times a message may be delivered again
EXCHANGE: Final = Exchange("penchant", type="topic", durable=True)
EVENTS: Final = Queue(
    "penchant.events",
    EXCHANGE,
    routing_key="events",
    queue_arguments={
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD.name,
        "x-dead-letter-strategy": "at-least-once",  # a crash of the broker on the way loses nothing
        "x-overflow": "reject-publish",  # what at-least-once asks for
    },
)

# A message here only says that a row of `training_jobs` waits: it is acknowledged as it is delivered, so that no
# training is held to the broker's consumer timeout, and one that is lost is sent again.
TRAINING: Final = Queue(
    "penchant.training",
    EXCHANGE,
    routing_key="training",
    no_ack=True,
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 100},
)

# As with trainings: a message only says that a row of `lake_exports` is not finished.
LAKE: Final = Queue(
    "penchant.lake",
    EXCHANGE,
    routing_key="lake",
    no_ack=True,
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 1},
)

# What comes round every few seconds: of what nobody had time for, the newest is enough.
CHORES: Final = Queue(
    "penchant.chores",
    EXCHANGE,
    routing_key="chores",
    queue_arguments={"x-queue-type": "quorum", "x-max-length": 1},
)


QUEUES: Final = (DEAD_LETTERS, EVENTS, TRAINING, LAKE, CHORES)


def declare(url: str, timeout: float = 5.0) -> None:
    """Make everything stand, the place for dead letters first; harmless where it already stands. Blocks.

    Raises StoreUnavailable when the broker is away, or something stands there with other arguments.
    """
    waits = {"read_timeout": timeout, "write_timeout": timeout}
    with Connection(url, connect_timeout=timeout, transport_options=waits) as connection:
        try:
            connection.connect()
            declare_on(connection)
        except (*connection.connection_errors, *connection.channel_errors) as error:
            raise StoreUnavailable(
                "broker", f"The broker did not take the queues: {error or type(error).__name__}"
            ) from error


def declare_on(connection: Connection) -> None:
    """As `declare`, on a connection that is open."""
    with connection.channel() as channel:
        for queue in QUEUES:
            queue(channel).declare()

"""RabbitMQ: our queues, the processes that read them, and the dead letters."""

# mypy: allow-untyped-calls
import asyncio
from functools import partial
from typing import Any

from kombu.connection import Connection

from bus.rabbitmq import topology
from cli.checkup.findings import Finding, address, fail, ok, warn
from core.settings import Stores

OLDEST_VERSION = (3, 10)
BACKLOG = 10_000  # messages
TIMEOUT = 5.0  # seconds
READERS = {  # the advice when no process reads the queue
    topology.EVENTS.name: "`penchant worker`: until then events wait and are not stored",
    topology.TRAINING.name: "`penchant trainer`, or run `penchant train` by hand",
    topology.LAKE.name: "`penchant trainer`, or run `penchant export events` by hand",
    topology.PERIODIC.name: "`penchant worker`",
    topology.PURGES.name: "`penchant worker` with PENCHANT_PURGE_URL, as `penchant beat` has it",
}
DECLARED = "A gateway declares it with its first event, `penchant worker` when it starts."


async def check_broker(stores: Stores) -> list[Finding]:
    """The server and our queues."""
    return await asyncio.to_thread(_check, stores.broker_url.get_secret_value())


def _check(url: str) -> list[Finding]:
    waits = {"read_timeout": TIMEOUT, "write_timeout": TIMEOUT}
    with Connection(url, connect_timeout=TIMEOUT, transport_options=waits) as connection:
        try:
            connection.connect()
        except (*connection.connection_errors, *connection.channel_errors, ValueError) as error:
            advice = "Start it, or correct PENCHANT_BROKER_URL; until then events wait in the outbox."
            return [fail("broker", f"{address(url)}: {error or type(error).__name__}", advice)]
        return [
            check_version(address(url), connection.connection.server_properties),
            *map(partial(_check_queue, connection), READERS),
            _check_dead(connection),
        ]


def check_version(where: str, properties: dict[str, Any]) -> Finding:
    """Whether a broker with these properties can be used."""
    version = str(properties.get("version", ""))
    says = f"{where}, {properties.get('product', 'a broker')} {version}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_VERSION:
        return fail("broker", says, "Upgrade it: RabbitMQ 3.10 is the oldest version that works.")
    return ok("broker", says)


def _check_queue(connection: Any, name: str) -> Finding:
    """Events must always have a reader, the other queues when messages wait in them."""
    about = f"queue {name}"
    state = _state(connection, name)
    if state is None:
        return warn(about, "the queue does not exist", DECLARED)
    messages, consumers = state
    says = f"{messages} messages wait, {consumers} processes read it"
    if consumers == 0 and (messages or name == topology.EVENTS.name):
        return warn(about, says, f"Start {READERS[name]}.")
    if messages > BACKLOG:
        return warn(about, says, "Give the worker more --processes, or start another one.")
    return ok(about, says)


def _check_dead(connection: Any) -> Finding:
    name = topology.DEAD_LETTERS.name
    state = _state(connection, name)
    if state is None:
        return warn("dead letters", f"{name} does not exist", DECLARED)
    if state[0]:
        advice = "`penchant worker` makes them dead events within seconds: start it, see `penchant events dead list`."
        return warn("dead letters", f"{state[0]} messages wait to become dead events", advice)
    return ok("dead letters", "none")


def _state(connection: Any, name: str) -> tuple[int, int] | None:
    """Messages and consumers of a queue; None when no queue has that name."""
    channel = connection.channel()
    try:
        declared = channel.queue_declare(name, passive=True)
        channel.close()
    except connection.channel_errors:
        return None
    return declared.message_count, declared.consumer_count

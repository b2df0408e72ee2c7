"""RabbitMQ: our queues, who reads them, and what nobody could store."""

# mypy: allow-untyped-calls
import asyncio
from functools import partial
from typing import Any

from kombu.connection import Connection

from bus.rabbitmq import topology
from cli.checkup.findings import Finding, address, fail, ok, warn
from core.settings import Stores

OLDEST = (3, 10)
BACKLOG = 10_000  # messages
TIMEOUT = 5.0  # seconds
READERS = {
    topology.EVENTS.name: "`penchant worker`: until then events wait and nothing is stored",
    topology.TRAINING.name: "`penchant trainer`, or run `penchant train` by hand",
    topology.LAKE.name: "`penchant trainer`, or run `penchant export events` by hand",
    topology.CHORES.name: "`penchant worker`",
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
            advice = "Start it, or put PENCHANT_BROKER_URL right; until then events wait in the outbox."
            return [fail("broker", f"{address(url)}: {error or type(error).__name__}", advice)]
        return [
            _check_server(address(url), connection),
            *map(partial(_check_queue, connection), READERS),
            _check_dead(connection),
        ]


def _check_server(where: str, connection: Any) -> Finding:
    properties = connection.connection.server_properties
    version = str(properties.get("version", ""))
    says = f"{where}, {properties.get('product', 'a broker')} {version}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        return fail("broker", says, "Upgrade it: RabbitMQ 3.10 is the oldest that will do.")
    return ok("broker", says)


def _check_queue(connection: Any, name: str) -> Finding:
    """Somebody has to read the events at any time, the others when something waits."""
    about = f"queue {name}"
    state = _state(connection, name)
    if state is None:
        return warn(about, "it is not there", DECLARED)
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
        return warn("dead letters", f"{name} is not there", DECLARED)
    if state[0]:
        advice = "`penchant worker` moves them within seconds: start it, and see `penchant events dead list` then."
        return warn("dead letters", f"{state[0]} messages wait to be laid out", advice)
    return ok("dead letters", "none")


def _state(connection: Any, name: str) -> tuple[int, int] | None:
    """Messages and consumers of a queue; None when there is none by that name."""
    channel = connection.channel()
    try:
        declared = channel.queue_declare(name, passive=True)
        channel.close()
    except connection.channel_errors:
        return None
    return declared.message_count, declared.consumer_count

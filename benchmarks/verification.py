"""Compares the acknowledged events with the rows in Postgres, and these with people's states in the gateway."""

import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

import amqp
import psycopg

from benchmarks.gateway_connection import BROKEN, GatewayConnection
from bus.rabbitmq import topology
from cli.gateway_client import Client

PEOPLE_PER_QUERY = 20


class Orders(NamedTuple):
    """How many orders a person has, and the sum spent."""

    orders: int
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Verification:
    """Counts of everything that may go wrong; each must be zero."""

    lost: int  # events acknowledged and not stored
    twice: int  # events stored more than once
    counted_twice: int  # orders that a person's state has and Postgres has not
    not_counted: int  # orders that Postgres has and the person's state has not
    misspent: int  # people whose state has another sum than Postgres
    dead: int  # dead letters and dead events


def orders_in_states(connection: GatewayConnection, people: Sequence[str]) -> list[Orders]:
    """Each person's orders by their state. Raises one of `BROKEN` when the gateway does not answer."""
    fields = " ".join(
        f"p{at}: user(id: {json.dumps(person)}) {{ rfm {{ frequency monetary }} }}" for at, person in enumerate(people)
    )
    status, body = connection.post("/graphql", json.dumps({"query": f"{{ {fields} }}"}))
    if status != 200:
        raise HTTPException(f"{status} {body[:500]!r}")
    data = json.loads(body)["data"]
    found = [data[f"p{at}"]["rfm"] or {"frequency": 0, "monetary": "0"} for at in range(len(people))]
    return [Orders(rfm["frequency"], Decimal(rfm["monetary"])) for rfm in found]


class Visitors(threading.Thread):
    """Asks for people's states all the time, so that states are built before, during and after the faults."""

    def __init__(self, client: Client, people: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self._connection, self._people = GatewayConnection(client.base_url, client.token()), people
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask about two random people ten times a second until stopped."""
        while not self._stopped.wait(0.1):
            with suppress(*BROKEN):
                orders_in_states(self._connection, self._random.choices(self._people, k=2))
        self._connection.close()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()
        self.join()


def row_counts(postgres_url: str) -> Counter[str]:
    """The number of rows of each event id."""
    with psycopg.connect(postgres_url) as connection:
        return Counter(dict(connection.execute("SELECT id, count(*) FROM events GROUP BY id").fetchall()))


def stored_orders(postgres_url: str) -> dict[str, Orders]:
    """Each person's orders by the rows in Postgres."""
    query = "SELECT user_id, count(DISTINCT order_id), sum(unit_price * quantity) FROM events GROUP BY user_id"
    with psycopg.connect(postgres_url) as connection:
        return {person: Orders(count, spent) for person, count, spent in connection.execute(query).fetchall()}


def undelivered(postgres_url: str, broker_url: str) -> int:
    """Envelopes in the outbox plus messages in the queue of events."""
    return _count(postgres_url, "SELECT count(*) FROM outbox") + _ready_messages(broker_url, topology.EVENTS.name)


def verify(postgres_url: str, broker_url: str, client: Client, acknowledged: Sequence[str]) -> Verification:
    """Compare acknowledged events, rows and states. Call it when nothing is undelivered any more."""
    rows, stored = row_counts(postgres_url), stored_orders(postgres_url)
    people = sorted(stored)
    states = _all_states(client, people)
    difference = [states[person].orders - stored[person].orders for person in people]
    return Verification(
        lost=sum(id not in rows for id in acknowledged),
        twice=sum(count - 1 for count in rows.values()),
        counted_twice=sum(each for each in difference if each > 0),
        not_counted=-sum(each for each in difference if each < 0),
        misspent=sum(states[person].spent != stored[person].spent for person in people),
        dead=_ready_messages(broker_url, topology.DEAD_LETTERS.name)
        + _count(postgres_url, "SELECT count(*) FROM dead_events"),
    )


def _all_states(client: Client, people: Sequence[str]) -> dict[str, Orders]:
    connection, states = GatewayConnection(client.base_url, client.token()), dict[str, Orders]()
    for start in range(0, len(people), PEOPLE_PER_QUERY):
        some = people[start : start + PEOPLE_PER_QUERY]
        states.update(zip(some, orders_in_states(connection, some), strict=True))
    connection.close()
    return states


def _count(postgres_url: str, query: str) -> int:
    with psycopg.connect(postgres_url) as connection:
        (count,) = connection.execute(query).fetchone() or (0,)
    return int(count)


def _ready_messages(broker_url: str, queue: str) -> int:
    """Messages of a queue that wait to be delivered."""
    parts = urlsplit(broker_url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port}",
        userid=parts.username,
        password=parts.password,
        virtual_host=parts.path.lstrip("/"),
    ) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).message_count)

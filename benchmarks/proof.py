"""What the stores hold against what was acknowledged: rows in Postgres, and people as the gateway tells of them."""

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

from benchmarks.line import BROKEN, Line
from bus.rabbitmq import topology
from cli.asking import Client

AT_ONCE = 20  # people of one question


class Orders(NamedTuple):
    """How many orders a person has, and what was spent."""

    orders: int
    spent: Decimal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What must be zero: acknowledged, not stored; stored twice; counted twice, or not at all, in people's states."""

    lost: int
    twice: int
    counted_twice: int
    not_counted: int
    misspent: int  # people whose state has spent another sum
    dead: int  # letters


def told(line: Line, people: Sequence[str]) -> list[Orders]:
    """Each one's orders, as their state says. Raises one of `BROKEN` when the gateway does not answer."""
    fields = " ".join(
        f"p{at}: user(id: {json.dumps(person)}) {{ rfm {{ frequency monetary }} }}" for at, person in enumerate(people)
    )
    status, body = line.post("/graphql", json.dumps({"query": f"{{ {fields} }}"}))
    if status != 200:
        raise HTTPException(f"{status} {body[:500]!r}")
    data = json.loads(body)["data"]
    found = [data[f"p{at}"]["rfm"] or {"frequency": 0, "monetary": "0"} for at in range(len(people))]
    return [Orders(rfm["frequency"], Decimal(rfm["monetary"])) for rfm in found]


class Visitors(threading.Thread):
    """People who look at the shop all the while, so that their states are built before, amid and after the faults."""

    def __init__(self, client: Client, people: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self._line, self._people = Line(client), people
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask about somebody every now and then until stopped."""
        while not self._stopped.wait(0.1):
            with suppress(*BROKEN):
                told(self._line, self._random.choices(self._people, k=2))
        self._line.close()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()
        self.join()


def rows(postgres_url: str) -> Counter[str]:
    """How many rows there are of each event's id."""
    with psycopg.connect(postgres_url) as connection:
        return Counter(dict(connection.execute("SELECT id, count(*) FROM events GROUP BY id").fetchall()))


def orders(postgres_url: str) -> dict[str, Orders]:
    """Each person's orders, as Postgres has them."""
    query = "SELECT user_id, count(DISTINCT order_id), sum(unit_price * quantity) FROM events GROUP BY user_id"
    with psycopg.connect(postgres_url) as connection:
        return {person: Orders(count, spent) for person, count, spent in connection.execute(query).fetchall()}


def still_under_way(postgres_url: str, broker_url: str) -> int:
    """Messages in the outbox and in the queue of events."""
    with psycopg.connect(postgres_url) as connection:
        (parcels,) = connection.execute("SELECT count(*) FROM outbox").fetchone() or (0,)
    return int(parcels) + _messages(broker_url, topology.EVENTS.name)


def judge(postgres_url: str, broker_url: str, client: Client, acknowledged: Sequence[str]) -> Verdict:
    """Hold everything against everything, when nothing is under way any more."""
    stored, known, line = rows(postgres_url), orders(postgres_url), Line(client)
    people = sorted(known)
    states: dict[str, Orders] = {}
    for start in range(0, len(people), AT_ONCE):
        some = people[start : start + AT_ONCE]
        states.update(zip(some, told(line, some), strict=True))
    line.close()
    difference = [states[person].orders - known[person].orders for person in people]
    return Verdict(
        lost=sum(id not in stored for id in acknowledged),
        twice=sum(count - 1 for count in stored.values()),
        counted_twice=sum(each for each in difference if each > 0),
        not_counted=-sum(each for each in difference if each < 0),
        misspent=sum(states[person].spent != known[person].spent for person in people),
        dead=_messages(broker_url, topology.DEAD_LETTERS.name) + _buried(postgres_url),
    )


def _buried(postgres_url: str) -> int:
    """Events that no worker could store."""
    with psycopg.connect(postgres_url) as connection:
        (buried,) = connection.execute("SELECT count(*) FROM dead_events").fetchone() or (0,)
    return int(buried)


def _messages(broker_url: str, queue: str) -> int:
    """Messages of a queue that wait to be delivered."""
    parts = urlsplit(broker_url)
    with amqp.Connection(
        f"{parts.hostname}:{parts.port}",
        userid=parts.username,
        password=parts.password,
        virtual_host=parts.path.lstrip("/"),
    ) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).message_count)

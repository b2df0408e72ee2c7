"""What the stores hold against what was acknowledged: rows in Postgres, and people as the gateway tells of them."""

import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import amqp
import psycopg

from cli.asking import Client
from workers import topology

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
    dead: int  # letters


class Asker:
    """Asks the gateway for people's orders, on a connection that is kept."""

    def __init__(self, client: Client) -> None:
        self._address = urlsplit(client.base_url)
        self._headers = {"Authorization": f"Bearer {client.token()}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def orders(self, people: Sequence[str]) -> list[Orders]:
        """Of each, as their state says. Raises OSError or HTTPException when the gateway does not answer."""
        fields = " ".join(
            f"p{at}: user(id: {json.dumps(person)}) {{ rfm {{ frequency monetary }} }}"
            for at, person in enumerate(people)
        )
        data = self._post(json.dumps({"query": f"{{ {fields} }}"}))["data"]
        told = [data[f"p{at}"]["rfm"] or {"frequency": 0, "monetary": "0"} for at in range(len(people))]
        return [Orders(rfm["frequency"], Decimal(rfm["monetary"])) for rfm in told]

    def _post(self, body: str) -> dict[str, Any]:
        try:
            if self._connection is None:
                host, port = self._address.hostname or "", self._address.port
                self._connection = http.client.HTTPConnection(host, port, timeout=10)
            self._connection.request("POST", "/graphql", body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection = None
            raise
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status} {text[:500]!r}")
        return dict(json.loads(text))


class Visitors(threading.Thread):
    """People who look at the shop all the while, so that their states are built before, amid and after the faults."""

    def __init__(self, client: Client, people: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self._asker, self._people, self._random = Asker(client), people, random.Random(seed)  # noqa: S311 - no secret
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask about somebody every now and then until stopped."""
        while not self._stopped.wait(0.1):
            with suppress(OSError, http.client.HTTPException):
                self._asker.orders(self._random.choices(self._people, k=2))

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
    stored, known = rows(postgres_url), orders(postgres_url)
    people, asker = sorted(known), Asker(client)
    told: dict[str, Orders] = {}
    for start in range(0, len(people), AT_ONCE):
        some = people[start : start + AT_ONCE]
        told.update(zip(some, asker.orders(some), strict=True))
    difference = [told[person].orders - known[person].orders for person in people]
    wrong = sum(
        told[person].spent != known[person].spent for person in people if told[person].orders == known[person].orders
    )
    return Verdict(
        lost=sum(id not in stored for id in acknowledged),
        twice=sum(count - 1 for count in stored.values()),
        counted_twice=sum(each for each in difference if each > 0) + wrong,
        not_counted=-sum(each for each in difference if each < 0),
        dead=_messages(broker_url, topology.DEAD_LETTERS.name),
    )


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

"""Hashes of events and orders. They are stored in Postgres and in people's states: they never change."""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def identity_of(source: str, id: str, occurred_at: datetime) -> int:
    """The stable unsigned 64-bit hash of an event's identity."""
    return hash64(f"{source}\x00{id}\x00{microseconds(occurred_at)}".encode())


def order_of(order_id: str | None) -> int:
    """The stable unsigned 64-bit hash of an order's id, 0 for none."""
    return 0 if order_id is None else hash64(order_id.encode())


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exact (a float timestamp is not)."""
    return (moment - _EPOCH) // _MICROSECOND


def hash64(packed: bytes) -> int:
    """An unsigned 64-bit hash."""
    return int.from_bytes(blake2b(packed, digest_size=8).digest(), "little")

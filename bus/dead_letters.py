"""A dead letter: a message that the broker set aside, with the cause."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from bus.envelope import Kind


class Cause(StrEnum):
    """Why a message was dead-lettered, as far as the message shows it."""

    CRASHED = "CRASHED"  # it ended the worker's process each time it was delivered
    NOT_JSON = "NOT_JSON"  # its content type is not JSON
    HAS_ETA_OR_EXPIRY = "HAS_ETA_OR_EXPIRY"
    FAILED = "FAILED"  # its task failed


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that the broker set aside. `attempts`: how often it was tried."""

    task: object  # the name of a task; a message of another program may have anything here
    kind: Kind | None  # None: no worker of this release knows the task
    body: bytes  # as received
    cause: Cause
    attempts: int
    may_crash: bool  # it was delivered so often that decoding it may be what ends the process
    decode: Callable[[], bytes]  # the body of the envelope that was sent; raises DamagedEnvelope when it is not ours
    ack: Callable[[], Awaitable[None]]  # remove it from the broker

"""Says in one sentence what Celery and kombu log with a traceback when the broker is away, full or restarting."""

import logging
import time
from collections.abc import Callable
from typing import Final

import structlog
from amqp.exceptions import AMQPError
from celery.beat import SchedulingError
from kombu.exceptions import OperationalError

log = structlog.get_logger()

EVERY: Final = 60.0  # seconds between two of the same sentence
LONGEST: Final = 300  # characters of a sentence
MOST: Final = 100  # sentences that are remembered
LOGGERS: Final = ("amqp", "celery", "kombu")
TASKS: Final = "celery.app.trace"  # logs what a task raised, which may be an OSError of its own
_BROKER: Final = (AMQPError, OperationalError)


class BrokerErrors(logging.Filter):
    """Replaces each record of these loggers that has an error of the connection by one sentence, not too often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next: dict[str, float] = {}  # when each sentence may be said again
        self._repeated: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged as it is."""
        error = _broker_error(record)
        if error is None:
            return True
        self._say(_sentence(error))
        return False

    def _say(self, sentence: str) -> None:
        now = self._clock()
        if now < self._next.get(sentence, 0.0):
            self._repeated[sentence] = self._repeated.get(sentence, 0) + 1
            return
        if len(self._next) >= MOST:
            self._next.clear()
            self._repeated.clear()
        self._next[sentence] = now + EVERY
        log.warning("broker_failed", error=sentence, repeated=self._repeated.pop(sentence, 0))


def _broker_error(record: logging.LogRecord) -> BaseException | None:
    """The error of the connection that the record shows, if it shows one."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.partition(".")[0] not in LOGGERS:
        return None
    if isinstance(error, SchedulingError):
        error = error.__context__
    expected = _BROKER if record.name == TASKS else (*_BROKER, OSError)
    return error if isinstance(error, expected) else None


def _sentence(error: BaseException) -> str:
    """The type of the error and the first line of its text, which names no password."""
    words = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {words}"[:LONGEST]


def keep_tracebacks_of_broker_out() -> None:
    """Filter what this process logs, and what the processes log that it forks."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(BrokerErrors())

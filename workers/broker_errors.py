"""Says in one sentence what Celery and kombu log at length when the broker is away, full or restarting.

A broker whose disk is full lets workers connect and then ends the connection, several times a second.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

import structlog
from amqp.exceptions import AMQPError
from billiard.common import restart_state  # type: ignore[import-untyped]  # it ships no types
from celery.beat import SchedulingError
from kombu.exceptions import OperationalError

log = structlog.get_logger()

EVERY: Final = 60.0  # seconds between two of the same sentence
STEPS_EVERY: Final = 10.0  # seconds between two equal lines about a step of connecting
LONGEST: Final = 300  # characters of a sentence
MOST: Final = 100  # sentences that are remembered
LOGGERS: Final = ("amqp", "celery", "kombu")
STEPS: Final = "celery.worker.consumer"  # logs every step of connecting
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
        if record.name.partition(".")[0] not in LOGGERS:
            return True
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, restart_state.RestartFreqExceeded):  # what ended the connections was said
            return False
        if (broken := _broker_error(record)) is not None:
            sentence = _sentence(broken)
            if self._is_due(sentence, EVERY):
                log.warning("broker_failed", error=sentence, repeated=self._repeated.pop(sentence, 0))
            return False
        is_step = record.levelno < logging.ERROR and record.name.startswith(STEPS)
        return not is_step or self._is_due(record.getMessage(), STEPS_EVERY)

    def _is_due(self, sentence: str, every: float) -> bool:
        """Whether the sentence was not said within so many seconds; counts it otherwise."""
        now = self._clock()
        if now < self._next.get(sentence, 0.0):
            self._repeated[sentence] = self._repeated.get(sentence, 0) + 1
            return False
        if len(self._next) >= MOST:
            self._next.clear()
            self._repeated.clear()
        self._next[sentence] = now + every
        return True


def _broker_error(record: logging.LogRecord) -> BaseException | None:
    """The error of the connection that the record shows, if it shows one."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None and record.levelno < logging.ERROR and isinstance(record.args, tuple):
        error = next((each for each in record.args if isinstance(each, BaseException)), None)
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

"""What Celery logs with a traceback while the broker is away or full is one sentence, not too often."""

import logging
from collections.abc import Callable, Iterator

import pytest
from amqp.exceptions import InternalError
from billiard.common import restart_state  # type: ignore[import-untyped]
from celery.beat import SchedulingError
from kombu.exceptions import OperationalError
from structlog.testing import capture_logs
from structlog.typing import EventDict

from workers.broker_errors import EVERY, MOST, STEPS_EVERY, BrokerErrors

FULL = InternalError("INTERNAL_ERROR\n/var/lib/rabbitmq", (10, 40), None)
LogError = Callable[..., tuple[list[str], list[EventDict]]]


@pytest.fixture
def now() -> list[float]:
    """The time, in seconds."""
    return [1000.0]


@pytest.fixture
def log_error(now: list[float]) -> Iterator[LogError]:
    """Logs an error with its traceback: the messages that pass the filter, and what is said instead."""
    passed: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            passed.append(record.getMessage())

    handler = Keep()
    handler.addFilter(BrokerErrors(lambda: now[0]))
    root = logging.getLogger()
    root.addHandler(handler)

    def log(name: str, *errors: BaseException) -> tuple[list[str], list[EventDict]]:
        passed.clear()
        with capture_logs() as said:
            for error in errors:
                try:
                    raise error
                except type(error):
                    logging.getLogger(name).exception("it failed")
        return passed[:], said

    yield log
    root.removeHandler(handler)


@pytest.mark.parametrize("name", ["celery.worker.consumer.consumer", "kombu.connection", "amqp", "celery.app.trace"])
def test_an_error_of_the_broker_is_one_sentence_without_traceback(log_error: LogError, name: str) -> None:
    passed, said = log_error(name, FULL)
    assert passed == []
    assert said == [
        {
            "event": "broker_failed",
            "log_level": "warning",
            "error": "InternalError: Connection.open: (541) INTERNAL_ERROR",
            "repeated": 0,
        }
    ]


def test_the_same_sentence_is_repeated_after_a_minute_with_its_count(log_error: LogError, now: list[float]) -> None:
    _, said = log_error("celery.worker", *[FULL] * 5, ConnectionResetError(104, "Connection reset by peer"))
    assert [each["error"].partition(":")[0] for each in said] == ["InternalError", "ConnectionResetError"]
    now[0] += EVERY - 1
    assert log_error("celery.worker", FULL) == ([], [])
    now[0] += 1
    _, said = log_error("celery.worker", FULL)
    assert [each["repeated"] for each in said] == [5]


def test_sentences_that_are_remembered_have_a_bound(log_error: LogError) -> None:
    _, said = log_error("celery", *(OperationalError(f"{number}") for number in range(2 * MOST)), OperationalError("0"))
    assert len(said) == 2 * MOST + 1


def test_other_errors_keep_their_traceback(log_error: LogError) -> None:
    assert log_error("celery.worker", ValueError("a bug")) == (["it failed"], [])
    assert log_error("celery.app.trace", OSError(28, "No space left on device")) == (["it failed"], [])
    assert log_error("engine", FULL) == (["it failed"], [])


def test_a_connection_that_ends_again_and_again_is_not_logged_each_time(log_error: LogError, now: list[float]) -> None:
    consumer = logging.getLogger("celery.worker.consumer.consumer")
    passed, said = log_error("celery.worker.consumer.consumer", restart_state.RestartFreqExceeded("5 in 1s"))
    assert (passed, said) == ([], [])
    with capture_logs() as said:
        for _ in range(20):
            consumer.warning("%s (%r)", "Connection to broker lost.", FULL)
    assert [each["error"] for each in said] == ["InternalError: Connection.open: (541) INTERNAL_ERROR"]
    kept = BrokerErrors(lambda: now[0])
    step = logging.LogRecord(consumer.name, logging.INFO, "", 0, "Connected to %s", ("amqp://mq",), None)
    assert [kept.filter(step) for _ in range(3)] == [True, False, False]
    now[0] += STEPS_EVERY
    assert kept.filter(step)
    away = logging.LogRecord(consumer.name, logging.ERROR, "", 0, "Cannot connect: %s", (OSError(111, "no"),), None)
    assert kept.filter(away) and kept.filter(away)  # every two seconds, in words


def test_a_beat_that_cannot_send_says_why(log_error: LogError) -> None:
    try:
        try:
            raise OperationalError("[Errno 111] Connection refused")
        except OperationalError:
            raise SchedulingError("Couldn't apply scheduled task") from None
    except SchedulingError as error:
        failed = error
    passed, said = log_error("celery.beat", failed)
    assert passed == [] and said[0]["error"] == "OperationalError: [Errno 111] Connection refused"

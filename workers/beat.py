"""Sends the periodic task: Celery's own beat, which ticks only while it holds a lock in Postgres."""

from typing import Any, Final

import psycopg
import structlog
from celery import beat
from celery.app.base import Celery

from core.errors import StoreUnavailable
from core.settings import Stores
from core.stores import log_unavailable
from db.locks import AdvisoryLock
from db.psycopg_errors import psycopg_errors

log = structlog.get_logger()

RETRY_PAUSE: Final = 1.0  # seconds between attempts to lead


class Leadership:
    """One process leads: the one whose Postgres session holds the lock."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: psycopg.Connection[tuple[bool]] | None = None
        self._logged: str | None = None

    def held(self) -> bool:
        """Whether this process leads now; it takes the lock when no other process has it."""
        try:
            with psycopg_errors():
                return self._is_still_held() if self._session else self._try_to_lead()
        except StoreUnavailable as error:
            self.release()
            if self._logged != "store_unavailable":
                log_unavailable(error, doing="lead the beat")
            self._logged = "store_unavailable"
            return False

    def release(self) -> None:
        """Let another process lead."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _is_still_held(self) -> bool:
        assert self._session is not None
        self._session.execute("SELECT true")
        return True

    def _try_to_lead(self) -> bool:
        self._session = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=3,
            tcp_user_timeout=3000,
            # A server that gets no answer from this process for so long releases the lock.
            options="-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
        )
        row = self._session.execute("SELECT pg_try_advisory_lock(%s)", [int(AdvisoryLock.BEAT)]).fetchone()
        if row and row[0]:
            self._log_once("beat_leads")
            return True
        self.release()
        self._log_once("beat_stands_by")
        return False

    def _log_once(self, event: str, **fields: str) -> None:
        if event != self._logged:
            log.info(event, **fields)
        self._logged = event


class LeadingScheduler(beat.Scheduler):  # type: ignore[misc]  # celery ships no types
    """Celery's own scheduler; it sends nothing while another process leads. The database records what was done."""

    def __init__(self, *arguments: Any, leadership: Leadership, **named: Any) -> None:
        self._leadership = leadership
        super().__init__(*arguments, **named)

    def setup_schedule(self) -> None:
        """Take the application's entries, due for the first time as soon as this process leads."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *arguments: Any, **named: Any) -> float:
        """Send what is due, if this process leads; returns the seconds until the next tick."""
        return float(super().tick(*arguments, **named)) if self._leadership.held() else RETRY_PAUSE


def run(app: Celery, stores: Stores) -> None:
    """Send the periodic task until the process is stopped."""
    leadership = Leadership(stores.postgres_url.get_secret_value())

    def scheduler(*arguments: Any, **named: Any) -> LeadingScheduler:
        return LeadingScheduler(*arguments, leadership=leadership, **named)

    try:
        beat.Service(app, scheduler_cls=scheduler).start()
    finally:
        leadership.release()

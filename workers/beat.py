"""What sends the chores: Celery's own beat, which ticks only while it holds a lock in Postgres."""

from typing import Any, Final

import psycopg
import structlog
from celery import beat
from celery.app.base import Celery

from core.errors import StoreUnavailable
from core.settings import Stores
from core.stores import log_unavailable
from db.locks import AdvisoryLock
from db.postgres import psycopg_errors

log = structlog.get_logger()

WAIT: Final = 1.0  # seconds between attempts to lead


class Leadership:
    """A lock in Postgres: held as long as the session that took it lives, so by one process at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: psycopg.Connection[tuple[bool]] | None = None
        self._said: str | None = None

    def held(self) -> bool:
        """Whether this process leads now; takes the lead when nobody else has it."""
        try:
            with psycopg_errors():
                return self._renewed() if self._session else self._taken()
        except StoreUnavailable as error:
            self.give_up()
            if self._said != "store_unavailable":
                log_unavailable(error, doing="lead the beat")
            self._said = "store_unavailable"
            return False

    def give_up(self) -> None:
        """Let another process lead."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _renewed(self) -> bool:
        assert self._session is not None
        self._session.execute("SELECT true")
        return True

    def _taken(self) -> bool:
        self._session = psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=3,
            tcp_user_timeout=3000,
            # A server that hears nothing from us for this long lets another process lead.
            options="-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
        )
        row = self._session.execute("SELECT pg_try_advisory_lock(%s)", [int(AdvisoryLock.BEAT)]).fetchone()
        if row and row[0]:
            self._say("beat_leads")
            return True
        self.give_up()
        self._say("beat_stands_by")
        return False

    def _say(self, what: str, **fields: str) -> None:
        if what != self._said:
            log.info(what, **fields)
        self._said = what


class LeadingScheduler(beat.Scheduler):  # type: ignore[misc]  # celery ships no types
    """The stock scheduler, silent while another process leads; it remembers nothing, the database does."""

    def __init__(self, *arguments: Any, leadership: Leadership, **named: Any) -> None:
        self._leadership = leadership
        super().__init__(*arguments, **named)

    def setup_schedule(self) -> None:
        """The application's entries, due for the first time as soon as we lead."""
        self.merge_inplace(self.app.conf.beat_schedule)

    def tick(self, *arguments: Any, **named: Any) -> float:
        """Send what is due, if we lead; seconds until the next look."""
        return float(super().tick(*arguments, **named)) if self._leadership.held() else WAIT


def run(app: Celery, stores: Stores) -> None:
    """Send what comes round until the process is told to stop."""
    leadership = Leadership(stores.postgres_url.get_secret_value())

    def scheduler(*arguments: Any, **named: Any) -> LeadingScheduler:
        return LeadingScheduler(*arguments, leadership=leadership, **named)

    try:
        beat.Service(app, scheduler_cls=scheduler).start()
    finally:
        leadership.give_up()

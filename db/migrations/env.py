"""Runs migrations one deployment at a time, with a short lock timeout, so that the shop never waits long."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from db.locks import AdvisoryLock
from db.migrate import sync_url

LOCK_TIMEOUT = "5s"


def migrate() -> None:
    """Take the lock that makes two deployments at once harmless, then run what is missing."""
    url = context.config.attributes.get("url") or os.environ["PENCHANT_POSTGRES_URL"]
    engine = create_engine(sync_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({AdvisoryLock.DEPLOYMENT:d})")
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        connection.commit()
        _run(connection)


def _run(connection: Connection) -> None:
    context.configure(connection=connection, version_table="penchant_version", transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


migrate()

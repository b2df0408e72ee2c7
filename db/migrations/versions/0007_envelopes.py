"""Keep our own envelope in the outbox and with dead events; write it for the rows of the outbox.

Revision ID: 0007
Revises: 0006
"""

import json
from uuid import UUID

from alembic import op

from db.migrate import run_file, run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BATCH = 20  # rows at once: one may have some megabytes


def upgrade() -> None:
    """Add the columns, and the envelope of every message that waits in the outbox."""
    run_file(__file__)
    _write_envelopes()


def downgrade() -> None:
    """Drop the columns: `body` still holds every message."""
    run_sql("ALTER TABLE outbox DROP COLUMN envelope")
    run_sql("ALTER TABLE dead_events DROP COLUMN envelope_version, DROP COLUMN envelope_id")


def _write_envelopes() -> None:
    connection, last = op.get_bind(), 0
    select = "SELECT id, task_id, body FROM outbox WHERE id > %s ORDER BY id LIMIT %s"
    while rows := connection.exec_driver_sql(select, (last, BATCH)).fetchall():
        for id, message_id, body in rows:
            envelope = _envelope(message_id, bytes(body))
            connection.exec_driver_sql("UPDATE outbox SET envelope = %s WHERE id = %s", (envelope, id))
        last = rows[-1][0]


def _envelope(message_id: UUID, body: bytes) -> bytes | None:
    """The envelope, version 1, of a Celery message that stores events; None when this is not one."""
    try:
        (events,), _, _ = json.loads(body)
        content: bytes = events.encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    head = {
        "version": 1,
        "kind": "penchant.store_events",
        "id": str(message_id),
        "headers": {},
        "size": len(content),
    }
    return json.dumps(head).encode() + b"\n" + content

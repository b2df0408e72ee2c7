"""Write the envelope of every message that waits in the outbox. It locks rows, not the table: gateways go on writing.

Revision ID: 0008
Revises: 0007
"""

import json
from uuid import UUID

from alembic import op

from db.migrate import run_sql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BATCH = 20  # rows at once: one may have some megabytes


def upgrade() -> None:
    """Write the envelopes."""
    _write_envelopes()


def downgrade() -> None:
    """Remove them: `body` still holds every message."""
    run_sql("UPDATE outbox SET envelope = NULL")


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

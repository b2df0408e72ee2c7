"""What was done to clients, when they were used last, and when a signing key signs and is revoked.

Revision ID: 0018
Revises: 0017
"""

from db.migrate import run_file, run_sql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql(
        "DROP TABLE oauth_client_audit, oauth_client_uses;"
        "ALTER TABLE oauth_clients DROP COLUMN scopes_changed_at, DROP COLUMN enabled_at;"
        "ALTER TABLE oauth_keys DROP COLUMN signs_from, DROP COLUMN revoked_at"
    )

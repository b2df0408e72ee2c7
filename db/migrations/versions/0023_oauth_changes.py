"""Note what changes in the OAuth tables, so that gateways read what is new and no more.

Revision ID: 0023
Revises: 0022
"""

from db.migrate import run_file, run_sql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, its triggers, and the column."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql(
        """DROP TABLE oauth_changes;
           ALTER TABLE oauth_revocations DROP COLUMN family_id;
           DROP FUNCTION note_oauth_change, note_revoked_token, note_revoked_family CASCADE"""
    )

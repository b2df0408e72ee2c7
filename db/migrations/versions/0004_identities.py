"""Join a guest to the user that the guest became.

Revision ID: 0004
Revises: 0003
"""

from db.migrate import run_file, run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table of joined guests."""
    run_file(__file__)


def downgrade() -> None:
    """Drop the table; events that were assigned to users stay theirs."""
    run_sql("DROP TABLE identities")

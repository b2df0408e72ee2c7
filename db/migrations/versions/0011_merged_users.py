"""Record users that were merged into another user.

Revision ID: 0011
Revises: 0010
"""

from db.migrate import run_file, run_sql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it; events that were assigned to the other user stay theirs."""
    run_sql("DROP TABLE merged_users")

"""Keep rules: what a merchandiser decides about items, with all earlier versions.

Revision ID: 0033
Revises: 0032
"""

from db.migrate import run_file, run_sql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TABLE rules")

"""Keep what a job of lists writes, and how far it is.

Revision ID: 0020
Revises: 0019
"""

from db.migrate import run_file, run_sql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE training_jobs DROP COLUMN list_request, DROP COLUMN list_progress")

"""Request the periodic training once per period, however many processes request it.

Revision ID: 0002
Revises: 0001
"""

from db.migrate import run_file, run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the period."""
    run_file(__file__)


def downgrade() -> None:
    """Drop the periods."""
    run_sql("ALTER TABLE training_jobs DROP COLUMN period")

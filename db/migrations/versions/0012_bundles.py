"""Record where models come from, which bundles were deleted, and which leases were returned.

Revision ID: 0012
Revises: 0011
"""

from db.migrate import run_file, run_sql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE training_jobs DROP COLUMN stops")
    run_sql("ALTER TABLE models DROP COLUMN training, DROP COLUMN pruned_at")

"""Record until when events may be stored under a source without a namespace.

Revision ID: 0009
Revises: 0008
"""

from db.migrate import run_file, run_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the record."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TABLE plain_sources")

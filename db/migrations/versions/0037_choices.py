"""Keep what people chose for their own lists: hidden items and categories, a pause.

Revision ID: 0037
Revises: 0035
"""

from db.migrate import run_file, run_sql

revision = "0037"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TABLE choices; DROP SEQUENCE choice_versions")

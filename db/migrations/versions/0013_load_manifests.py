"""Record the manifest of each load and how its undo goes.

Revision ID: 0013
Revises: 0012
"""

from db.migrate import run_file, run_sql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql(
        "ALTER TABLE loads DROP COLUMN kind, DROP COLUMN manifest, DROP COLUMN undo_began_at, DROP COLUMN undone_at,"
        " DROP COLUMN taken_back"
    )

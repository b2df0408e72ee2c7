"""A guest is joined to the user they turned out to be.

Revision ID: 0004
Revises: 0003
"""

from db.migrate import run_file, run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the joined guests."""
    run_file(__file__)


def downgrade() -> None:
    """Forget who was joined; the events they brought stay the users'."""
    run_sql("DROP TABLE identities")

"""Foreign issuers of access tokens.

Revision ID: 0017
Revises: 0016
"""

from db.migrate import run_file, run_sql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("DROP TABLE oauth_issuers")

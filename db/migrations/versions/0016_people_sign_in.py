"""Let people sign in with a password.

Revision ID: 0016
Revises: 0015
"""

from db.migrate import run_file, run_sql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql(
        "DROP TABLE oauth_password_failures, oauth_familiar_addresses, oauth_consents, oauth_sessions, oauth_accounts"
    )

"""Authorization codes, refresh tokens, and public keys of clients.

Revision ID: 0015
Revises: 0014
"""

from db.migrate import run_file, run_sql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables and columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql(
        "DROP TABLE oauth_assertions, oauth_families;"
        "ALTER TABLE oauth_revocations DROP COLUMN client_id;"
        "DROP INDEX oauth_revocations_expires;"
        "ALTER TABLE oauth_clients DROP COLUMN name, DROP COLUMN first_party,"
        " DROP COLUMN post_logout_redirect_uris, DROP COLUMN jwks, DROP COLUMN token_ttl"
    )

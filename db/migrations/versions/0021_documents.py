"""Keep the trusted documents of clients.

Revision ID: 0021
Revises: 0020
"""

from db.migrate import run_file, run_sql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("ALTER TABLE oauth_clients DROP COLUMN documents_required, DROP COLUMN documents_version")
    run_sql("DROP TABLE document_aliases, documents")

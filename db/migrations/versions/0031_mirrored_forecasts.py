"""Keep which forecast MLflow shows as the one that serves.

Revision ID: 0031
Revises: 0029
"""

from db.migrate import run_file, run_sql

revision = "0031"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    run_file(__file__)


def downgrade() -> None:
    """Drop it."""
    run_sql("ALTER TABLE mlflow_mirror DROP COLUMN forecast_generation")

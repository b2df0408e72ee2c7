"""Keep how far a training is, who cancelled it, and what MLflow mirrors.

Revision ID: 0026
Revises: 0024
"""

from db.migrate import run_file, run_sql

revision = "0026"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them."""
    run_sql("DROP TABLE mlflow_mirror; ALTER TABLE training_jobs DROP COLUMN progress, DROP COLUMN cancelled_by")

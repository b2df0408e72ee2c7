"""Keep the purges that the webhook sends, and note which changes may bring an item into lists.

Revision ID: 0024
Revises: 0023
"""

from db.migrate import run_file, run_sql

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and the column, and let the trigger of items fill it."""
    run_file(__file__)


def downgrade() -> None:
    """Drop them, and let the trigger be as before."""
    run_sql(
        """CREATE OR REPLACE FUNCTION stamp_item_change() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               IF TG_OP = 'UPDATE' THEN
                   OLD.updated_at := NEW.updated_at;
                   IF OLD IS NOT DISTINCT FROM NEW THEN
                       RETURN NEW;
                   END IF;
               END IF;
               NEW.changed_seq := nextval('items_changed_seq');
               RETURN NEW;
           END $$;
           DROP FUNCTION enters_lists;
           ALTER TABLE items DROP COLUMN listed_seq;
           DROP TABLE purges, purge_progress"""
    )

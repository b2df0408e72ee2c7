-- The newest change of an item after which lists may show it that did not: null for none since this column is here.
ALTER TABLE items ADD COLUMN listed_seq bigint;

-- It is new, or back, or has other categories or another brand, or became available in a market.
CREATE FUNCTION enters_lists(old items, new items) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF new.removed_at IS NOT NULL THEN
        RETURN false;
    END IF;
    RETURN old.removed_at IS NOT NULL
        OR old.categories IS DISTINCT FROM new.categories
        OR old.brand IS DISTINCT FROM new.brand
        OR old.offers <> new.offers AND (
            new.offers = '[]'
            OR NOT jsonb_path_query_array(old.offers, '$[*] ? (@.available == true).market')
                @> jsonb_path_query_array(new.offers, '$[*] ? (@.available == true).market'));
END $$;

CREATE OR REPLACE FUNCTION stamp_item_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        OLD.updated_at := NEW.updated_at;
        IF OLD IS NOT DISTINCT FROM NEW THEN
            RETURN NEW;
        END IF;
    END IF;
    NEW.changed_seq := nextval('items_changed_seq');
    IF TG_OP = 'INSERT' OR enters_lists(OLD, NEW) THEN
        NEW.listed_seq := NEW.changed_seq;
    END IF;
    RETURN NEW;
END $$;

-- How far the changes of items are in purges, and whether the receiver takes them. One row, once purges are sent.
CREATE TABLE purge_progress (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL,  -- of items.changed_seq
    failures integer NOT NULL DEFAULT 0,  -- of attempts, since one succeeded
    paused_until timestamptz  -- nothing is sent before
);

-- The outbox of the purge webhook: what a receiver still has to drop.
CREATE TABLE purges (
    id uuid PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY,
    keys text[] NOT NULL CHECK (cardinality(keys) BETWEEN 1 AND 256),
    made_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    error text,  -- why the last attempt failed
    dead_at timestamptz  -- it is not sent any more
);

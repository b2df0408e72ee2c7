-- When an item was added: what came lately may be called new. Null: before this column existed.
ALTER TABLE items ADD COLUMN created_at timestamptz;
ALTER TABLE items ALTER COLUMN created_at SET DEFAULT now();

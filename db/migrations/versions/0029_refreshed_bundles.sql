-- The model whose weights this bundle has, with tables as of a later moment; null for a bundle of its own weights.
ALTER TABLE models ADD COLUMN refreshed_from text REFERENCES models;

-- Whether the decision only renewed the tables of what serves: its `action` is PROMOTED, as releases before know it.
ALTER TABLE decisions ADD COLUMN refreshed boolean NOT NULL DEFAULT false;

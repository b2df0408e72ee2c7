"""Person features as portable SQL: one text that DuckDB and Postgres run, with the same rows."""

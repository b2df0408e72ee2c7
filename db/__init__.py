"""Every Postgres statement, every Redis key, every migration, and the lake."""

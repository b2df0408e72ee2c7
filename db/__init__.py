"""The memory: every Postgres statement, every Redis key, every migration."""

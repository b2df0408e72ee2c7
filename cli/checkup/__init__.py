"""What `penchant doctor` looks at: one file per thing, each giving findings."""

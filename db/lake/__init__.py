"""The event lake: day-partitioned Parquet at any address, with a manifest for every day."""

"""Benchmarks of speed and quality; each prints a table and can write JSON."""

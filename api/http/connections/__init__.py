"""Reads requests from connections: limits on heads and framing, and the turns in which requests start."""

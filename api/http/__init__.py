"""The HTTP edge: server, limits, CORS, bulk uploads, health and metrics."""

"""The HTTP edge: server, limits, CORS, tokens in, answers out."""

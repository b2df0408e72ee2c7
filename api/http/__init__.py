"""The HTTP edge: the server, limits on requests, CORS, bearer tokens, answers."""

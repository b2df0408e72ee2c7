"""The protocol half of the authorization endpoint: what a client may ask, and where its answer goes."""

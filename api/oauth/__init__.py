"""The authorization server: who may ask for a token, what is in it, and the keys that sign it."""

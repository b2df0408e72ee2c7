"""Foreign issuers: the shop's identity providers, their keys, and their access tokens."""

"""The authorization server: its endpoints, grants, clients, access tokens and signing keys."""

"""Strict readers of signed tokens and of public keys, used by all that read one."""

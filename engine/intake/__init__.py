"""The way of an event: the gateway judges and sends it, a worker stores it."""

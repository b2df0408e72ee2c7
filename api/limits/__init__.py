"""Rate limits of clients, people and addresses, shared by all gateways."""

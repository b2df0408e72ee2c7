"""Files of events, items and users: read in chunks, checked by the rules of the gateway, stored once."""

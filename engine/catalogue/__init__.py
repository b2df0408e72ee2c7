"""All items in memory, with their filters and offers, and the upserts that change them."""

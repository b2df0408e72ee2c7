"""Items in memory: filters, offers, and the upserts that change them."""

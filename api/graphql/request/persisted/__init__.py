"""Documents that a request names by an id: trusted ones, pushed for its client, and automatic ones."""

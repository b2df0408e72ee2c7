"""Lists of items: for a person, like an item, popular now."""

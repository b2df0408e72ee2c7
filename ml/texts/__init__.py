"""What the texts of items say: vectors of words and attributes, and lists for items that nobody bought yet."""

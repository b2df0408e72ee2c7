"""Rules: what a merchandiser decides about items in lists, checked, found fast among very many, and applied."""
